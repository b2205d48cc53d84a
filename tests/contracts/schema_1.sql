PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO studies VALUES(1,'old');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO version_info VALUES(1,12,'5.0.0');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_directions VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_system_attributes VALUES(1,1,'study:metric_names','["validation accuracy"]');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO trials VALUES(1,0,1,'COMPLETE','2026-11-23 03:45:23.716054','2026-11-23 03:45:28.231649');
INSERT INTO trials VALUES(2,1,1,'COMPLETE','2026-11-23 03:45:28.305249','2026-11-23 03:45:28.944259');
INSERT INTO trials VALUES(3,2,1,'COMPLETE','2026-11-23 03:45:29.036072','2026-11-23 03:45:29.403323');
INSERT INTO trials VALUES(4,3,1,'COMPLETE','2026-11-23 03:45:29.483081','2026-11-23 03:45:29.794022');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_user_attributes VALUES(1,1,'reference','"course-mlp"');
INSERT INTO trial_user_attributes VALUES(2,1,'pinned','{"weight_decay": 0.0, "schedule": "constant", "averaging": 0.0}');
INSERT INTO trial_user_attributes VALUES(3,2,'reference','"course-conv"');
INSERT INTO trial_user_attributes VALUES(4,2,'pinned','{"model": "conv", "weight_decay": 0.0, "schedule": "constant", "averaging": 0.0, "blocks": 2, "channels": 8, "growth": 2.0, "divisor": 1, "kernel": 3, "padding": "valid", "hidden": 128, "hidden_layers": 1, "hidden_taper": 1.0, "hidden_activation": false, "batch_norm": false, "number_width": 0}');
INSERT INTO trial_user_attributes VALUES(5,1,'parameters','76628');
INSERT INTO trial_user_attributes VALUES(6,2,'parameters','96116');
INSERT INTO trial_user_attributes VALUES(7,3,'parameters','115975');
INSERT INTO trial_user_attributes VALUES(8,4,'parameters','237715');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_system_attributes VALUES(1,1,'fixed_params','{"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "batch_size": 64, "pairing": "fixed", "shift": 0, "depth": 1, "width": 64, "taper": 1.0, "activation": "relu", "dropout": 0.0}');
INSERT INTO trial_system_attributes VALUES(2,2,'fixed_params','{"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "batch_size": 64, "pairing": "fixed", "shift": 0, "activation": "relu", "dropout": 0.5}');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_params VALUES(1,1,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "nesterov", "adam", "adamw"]}}');
INSERT INTO trial_params VALUES(2,1,'lr',0.010000000000000000208,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.05, "log": true}}');
INSERT INTO trial_params VALUES(3,1,'momentum',0.9000000000000000222,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.8, "high": 0.98, "log": false}}');
INSERT INTO trial_params VALUES(4,1,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [64, 128, 256]}}');
INSERT INTO trial_params VALUES(5,1,'pairing',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["fixed", "fresh"]}}');
INSERT INTO trial_params VALUES(6,1,'shift',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO trial_params VALUES(7,1,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "leaky_relu", "elu", "silu"]}}');
INSERT INTO trial_params VALUES(8,1,'dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(9,1,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 3}}');
INSERT INTO trial_params VALUES(10,1,'width',64.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 512}}');
INSERT INTO trial_params VALUES(11,1,'taper',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(12,2,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "nesterov", "adam", "adamw"]}}');
INSERT INTO trial_params VALUES(13,2,'lr',0.010000000000000000208,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.05, "log": true}}');
INSERT INTO trial_params VALUES(14,2,'momentum',0.9000000000000000222,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.8, "high": 0.98, "log": false}}');
INSERT INTO trial_params VALUES(15,2,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [64, 128, 256]}}');
INSERT INTO trial_params VALUES(16,2,'pairing',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["fixed", "fresh"]}}');
INSERT INTO trial_params VALUES(17,2,'shift',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO trial_params VALUES(18,2,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "leaky_relu", "elu", "silu"]}}');
INSERT INTO trial_params VALUES(19,2,'dropout',0.5,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(20,3,'optimizer',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "nesterov", "adam", "adamw"]}}');
INSERT INTO trial_params VALUES(21,3,'lr',0.0011572753366740550981,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.05, "log": true}}');
INSERT INTO trial_params VALUES(22,3,'momentum',0.92741816633576035222,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.8, "high": 0.98, "log": false}}');
INSERT INTO trial_params VALUES(23,3,'weight_decay',5.046000456386197147e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-06, "high": 0.01, "log": true}}');
INSERT INTO trial_params VALUES(24,3,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [64, 128, 256]}}');
INSERT INTO trial_params VALUES(25,3,'pairing',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["fixed", "fresh"]}}');
INSERT INTO trial_params VALUES(26,3,'shift',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO trial_params VALUES(27,3,'activation',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "leaky_relu", "elu", "silu"]}}');
INSERT INTO trial_params VALUES(28,3,'dropout',0.054255282174620167445,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(29,3,'depth',2.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 3}}');
INSERT INTO trial_params VALUES(30,3,'width',91.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 512}}');
INSERT INTO trial_params VALUES(31,3,'taper',0.86768816258849712497,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(32,4,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "nesterov", "adam", "adamw"]}}');
INSERT INTO trial_params VALUES(33,4,'lr',0.0012476672908669878773,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.05, "log": true}}');
INSERT INTO trial_params VALUES(34,4,'momentum',0.85354254152312059034,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.8, "high": 0.98, "log": false}}');
INSERT INTO trial_params VALUES(35,4,'weight_decay',0.00041984003327884977406,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-06, "high": 0.01, "log": true}}');
INSERT INTO trial_params VALUES(36,4,'batch_size',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [64, 128, 256]}}');
INSERT INTO trial_params VALUES(37,4,'pairing',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["fixed", "fresh"]}}');
INSERT INTO trial_params VALUES(38,4,'shift',0.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 2}}');
INSERT INTO trial_params VALUES(39,4,'activation',3.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "leaky_relu", "elu", "silu"]}}');
INSERT INTO trial_params VALUES(40,4,'dropout',0.28966891357716756383,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(41,4,'depth',3.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 3}}');
INSERT INTO trial_params VALUES(42,4,'width',173.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 512}}');
INSERT INTO trial_params VALUES(43,4,'taper',0.71124394166272342232,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_values VALUES(1,1,0,0.37775000000000003019,'FINITE');
INSERT INTO trial_values VALUES(2,2,0,0.14537499999999997646,'FINITE');
INSERT INTO trial_values VALUES(3,3,0,0.089249999999999996003,'FINITE');
INSERT INTO trial_values VALUES(4,4,0,0.10075000000000000621,'FINITE');
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_intermediate_values VALUES(1,1,720,0.37775000000000003019,'FINITE');
INSERT INTO trial_intermediate_values VALUES(2,2,720,0.14537499999999997646,'FINITE');
INSERT INTO trial_intermediate_values VALUES(3,3,720,0.089249999999999996003,'FINITE');
INSERT INTO trial_intermediate_values VALUES(4,4,720,0.10075000000000000621,'FINITE');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('v3.2.0.a');
CREATE TABLE tune_schema (
	one INTEGER NOT NULL, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (one)
);
INSERT INTO tune_schema VALUES(1,1);
CREATE TABLE tune_studies (
	study_id INTEGER NOT NULL, 
	target_trials INTEGER NOT NULL, 
	spec JSON NOT NULL, 
	created DATETIME NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO tune_studies VALUES(1,4,'{"task": "twodigit", "space": {"model": "mlp", "optimizer": ["sgd", "nesterov", "adam", "adamw"], "lr": {"low": 0.001, "high": 0.05, "log": true}, "momentum": {"low": 0.8, "high": 0.98}, "weight_decay": {"low": 1e-06, "high": 0.01, "log": true}, "schedule": "cosine", "batch_size": [64, 128, 256], "label_smoothing": 0.0, "averaging": 0.1, "pairing": ["fixed", "fresh"], "shift": {"low": 0, "high": 2}, "activation": ["relu", "leaky_relu", "elu", "silu"], "dropout": {"low": 0.0, "high": 0.5}, "depth": {"low": 1, "high": 3}, "width": {"low": 64, "high": 512, "log": true}, "taper": {"low": 0.5, "high": 1.0}}, "epochs": 0.02, "epoch_images": 36000, "validation_pictures": 4000, "seed": 0, "sampler": "tpe", "pruner": "asha", "references": ["course-mlp", "course-conv"], "checksums": {"train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"}}','2026-11-23 03:45:16.960296');
CREATE TABLE tune_claims (
	claim_id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	slot INTEGER NOT NULL, 
	worker_id VARCHAR(200) NOT NULL, 
	token VARCHAR(32) NOT NULL, 
	trial_id INTEGER, 
	done BOOLEAN NOT NULL, 
	expires DATETIME NOT NULL, 
	PRIMARY KEY (claim_id), 
	CONSTRAINT tune_claims_slot UNIQUE (study_id, slot)
);
INSERT INTO tune_claims VALUES(1,1,0,'host:10512:41cea9f0','c20aa4af7096532efcd7c3cf704dcd73',1,1,'2026-11-23 03:45:53.680996');
INSERT INTO tune_claims VALUES(2,1,1,'host:10512:41cea9f0','99a3cfb30f0ec9a32d5a2ced4bdc757c',2,1,'2026-11-23 03:45:58.288090');
INSERT INTO tune_claims VALUES(3,1,2,'host:10512:41cea9f0','de9b20fc067f7d62a76fefe75fd16a0e',3,1,'2026-11-23 03:45:59.006049');
INSERT INTO tune_claims VALUES(4,1,3,'host:10512:41cea9f0','ad5de1d09b41f0c69cf1ef82c145d668',4,1,'2026-11-23 03:45:59.454628');
CREATE TABLE tune_points (
	trial_id INTEGER NOT NULL, 
	images BIGINT NOT NULL, 
	seconds FLOAT NOT NULL, 
	learning_rate FLOAT NOT NULL, 
	train_joint FLOAT NOT NULL, 
	validation_joint FLOAT NOT NULL, 
	PRIMARY KEY (trial_id, images)
);
INSERT INTO tune_points VALUES(1,720,0.11044114600008470006,0.010000000000000000208,0.03515625,0.13700000000000001065);
INSERT INTO tune_points VALUES(2,720,0.53461121899999852757,0.010000000000000000208,0.013020833333333333911,0.021999999999999998723);
INSERT INTO tune_points VALUES(3,720,0.20121562700001049961,0.0,0.015625,0.009249999999999999542);
INSERT INTO tune_points VALUES(4,720,0.19083904800004347634,0.0,0.010416666666666666088,0.010500000000000000652);
CREATE TABLE tune_head_points (
	trial_id INTEGER NOT NULL, 
	images BIGINT NOT NULL, 
	position INTEGER NOT NULL, 
	head VARCHAR(64) NOT NULL, 
	train_loss FLOAT NOT NULL, 
	train_accuracy FLOAT NOT NULL, 
	validation_loss FLOAT NOT NULL, 
	validation_accuracy FLOAT NOT NULL, 
	PRIMARY KEY (trial_id, images, head)
);
INSERT INTO tune_head_points VALUES(1,720,0,'first_digit',2.2473941409649946798,0.17447916666666665741,2.0438396121859550014,0.39400000000000001687);
INSERT INTO tune_head_points VALUES(1,720,1,'second_digit',2.2121648619261882195,0.20052083333333334258,2.0409442827552557453,0.361499999999999988);
INSERT INTO tune_head_points VALUES(2,720,0,'first_digit',2.306030812207609415,0.11328125,2.2932849099636078982,0.14174999999999998712);
INSERT INTO tune_head_points VALUES(2,720,1,'second_digit',2.2979522959018745531,0.12630208333333334258,2.2879699763655660937,0.14899999999999999356);
INSERT INTO tune_head_points VALUES(3,720,0,'first_digit',2.3157318270144364724,0.092447916666666671292,2.3208224870860578725,0.079000000000000000777);
INSERT INTO tune_head_points VALUES(3,720,1,'second_digit',2.2973856949247419834,0.11197916666666667129,2.304324351340532484,0.099500000000000005107);
INSERT INTO tune_head_points VALUES(4,720,0,'first_digit',2.3090604764098920931,0.084635416666666671292,2.3044204556941987327,0.10524999999999999633);
INSERT INTO tune_head_points VALUES(4,720,1,'second_digit',2.3002614953244724382,0.1067708333333333287,2.3061686135530470309,0.09625000000000000222);
CREATE TABLE tune_workers (
	study_id INTEGER NOT NULL, 
	worker_id VARCHAR(200) NOT NULL, 
	host VARCHAR(200) NOT NULL, 
	pid INTEGER NOT NULL, 
	device VARCHAR(32) NOT NULL, 
	threads INTEGER NOT NULL, 
	environment JSON NOT NULL, 
	joined DATETIME NOT NULL, 
	PRIMARY KEY (study_id, worker_id)
);
INSERT INTO tune_workers VALUES(1,'host:10512:41cea9f0','host',10512,'cpu',1,'{"device": "cpu", "cpu": "AMD EPYC", "cores": 2, "threads": 1, "cpu_capability": "AVX512", "torch": "2.13.0+cpu", "python": "3.11.7", "platform": "Linux", "precision_mlp": "float32", "precision_conv": "bfloat16"}','2026-11-23 03:45:23.632621');
CREATE TABLE tune_checkpoints (
	trial_id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	path VARCHAR(500) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	score FLOAT NOT NULL, 
	images BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	PRIMARY KEY (trial_id)
);
INSERT INTO tune_checkpoints VALUES(1,1,'0001-old/trial-00000.safetensors','ee3738dab6f4e4cd6e8ad9121353e24a4a49bbcf5920078ba19a46ddd13e4e51',0.37775000000000003019,720,307376);
INSERT INTO tune_checkpoints VALUES(2,1,'0001-old/trial-00001.safetensors','d73e8620167fdf2fda687919750dbcaaddf8255a5fe3fb78e360fad4fa6b3471',0.14537499999999997646,720,385888);
INSERT INTO tune_checkpoints VALUES(3,1,'0001-old/trial-00002.safetensors','1a745fd632585ebcc9d5c1b533a3435f6bc358408cbfdee88d4fde479d8607fc',0.089249999999999996003,720,464972);
INSERT INTO tune_checkpoints VALUES(4,1,'0001-old/trial-00003.safetensors','21511b839155fd9cfe46cb56b1b335b909e21f88ebca4774225bb324d686c5d8',0.10075000000000000621,720,952100);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX tune_checkpoints_study ON tune_checkpoints (study_id, score);
COMMIT;
