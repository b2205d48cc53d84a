#!/bin/sh
# Gradient descent in a valley, in POSIX shell and awk: training code that is not Python (docs/protocol.md).
#   tune run --command "sh examples/valley.sh" --study valley --trials 20

say() { echo "$1" | tr -d '\n' >&"$TUNE_ANSWERS"; echo >&"$TUNE_ANSWERS"; } # a message is one line
hear() { read -r line <&"$TUNE_REQUESTS" || exit 0; }
number() { echo "$line" | sed -n "s/.*\"$1\": *\([-+0-9.eE]*\).*/\1/p"; }

rate='{"kind": "float", "low": 0.001, "high": 0.1, "log": true}'
start='{"kind": "float", "low": -2.0, "high": 2.0}'
say '{"hello": {"protocol": 1, "name": "valley", "score": "height", "direction": "minimize", "budget": 8,
  "unit": "step", "space": {"rate": '"$rate"', "start": '"$start"'}}}'

while hear; do
  case $line in *'"quit"'*) exit 0 ;; esac
  rate=$(number rate) x=$(number start) budget=$(number budget) step=1
  while [ "$step" -le "$budget" ]; do
    x=$(awk -v x="$x" -v rate="$rate" 'BEGIN { print x - rate * 4 * x * (x ^ 2 - 1) }')
    height=$(awk -v x="$x" 'BEGIN { print (x ^ 2 - 1) ^ 2 }')
    echo "step $step: x = $x"
    say "{\"report\": {\"step\": $step, \"metrics\": {\"height\": $height}}}"
    hear
    case $line in *'"stop"'*) break ;; esac
    step=$((step + 1))
  done
  say '{"ended": {}}'
done
