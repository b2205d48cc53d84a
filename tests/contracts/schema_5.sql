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
INSERT INTO trials VALUES(1,0,1,'COMPLETE','2026-11-29 16:45:08.038503','2026-11-29 16:45:14.260915');
INSERT INTO trials VALUES(2,1,1,'COMPLETE','2026-11-29 16:45:14.758222','2026-11-29 16:45:36.171251');
INSERT INTO trials VALUES(3,2,1,'COMPLETE','2026-11-29 16:45:36.629078','2026-11-29 16:45:42.423359');
INSERT INTO trials VALUES(4,3,1,'COMPLETE','2026-11-29 16:45:43.590271','2026-11-29 16:45:50.749942');
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
INSERT INTO trial_user_attributes VALUES(2,1,'pinned','{"weight_decay": 0.0, "schedule": "constant", "averaging": 0.0, "pairing": "fixed", "affine": 0.0}');
INSERT INTO trial_user_attributes VALUES(3,2,'reference','"course-conv"');
INSERT INTO trial_user_attributes VALUES(4,2,'pinned','{"model": "conv", "weight_decay": 0.0, "schedule": "constant", "averaging": 0.0, "pairing": "fixed", "affine": 0.0, "blocks": 2, "stem": 1, "convolutions": 1, "channels": 8, "growth": 2.0, "divisor": 1, "kernel": 3, "padding": "valid", "hidden": 128, "hidden_layers": 1, "hidden_taper": 1.0, "hidden_activation": false, "batch_norm": false, "number_width": 0}');
INSERT INTO trial_user_attributes VALUES(5,1,'parameters','76628');
INSERT INTO trial_user_attributes VALUES(6,2,'parameters','96116');
INSERT INTO trial_user_attributes VALUES(7,3,'parameters','126902');
INSERT INTO trial_user_attributes VALUES(8,4,'parameters','100568');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_system_attributes VALUES(1,1,'fixed_params','{"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "batch_size": 64, "label_smoothing": 0.0, "depth": 1, "width": 64, "taper": 1.0, "activation": "relu", "dropout": 0.0}');
INSERT INTO trial_system_attributes VALUES(2,2,'fixed_params','{"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "batch_size": 64, "label_smoothing": 0.0, "activation": "relu", "dropout": 0.5}');
INSERT INTO trial_system_attributes VALUES(3,1,'tune:trial','1');
INSERT INTO trial_system_attributes VALUES(4,2,'tune:trial','2');
INSERT INTO trial_system_attributes VALUES(5,3,'tune:trial','3');
INSERT INTO trial_system_attributes VALUES(6,4,'tune:trial','4');
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
INSERT INTO trial_params VALUES(4,1,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [64, 128]}}');
INSERT INTO trial_params VALUES(5,1,'label_smoothing',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.2, "log": false}}');
INSERT INTO trial_params VALUES(6,1,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "leaky_relu", "elu", "silu"]}}');
INSERT INTO trial_params VALUES(7,1,'dropout',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(8,1,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 3}}');
INSERT INTO trial_params VALUES(9,1,'width',64.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 512}}');
INSERT INTO trial_params VALUES(10,1,'taper',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(11,2,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "nesterov", "adam", "adamw"]}}');
INSERT INTO trial_params VALUES(12,2,'lr',0.010000000000000000208,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.05, "log": true}}');
INSERT INTO trial_params VALUES(13,2,'momentum',0.9000000000000000222,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.8, "high": 0.98, "log": false}}');
INSERT INTO trial_params VALUES(14,2,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [64, 128]}}');
INSERT INTO trial_params VALUES(15,2,'label_smoothing',0.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.2, "log": false}}');
INSERT INTO trial_params VALUES(16,2,'activation',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "leaky_relu", "elu", "silu"]}}');
INSERT INTO trial_params VALUES(17,2,'dropout',0.5,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(18,3,'optimizer',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "nesterov", "adam", "adamw"]}}');
INSERT INTO trial_params VALUES(19,3,'lr',0.0019385114516192482585,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.05, "log": true}}');
INSERT INTO trial_params VALUES(20,3,'momentum',0.84570760665452981985,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.8, "high": 0.98, "log": false}}');
INSERT INTO trial_params VALUES(21,3,'weight_decay',0.0032142004421931986805,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-06, "high": 0.01, "log": true}}');
INSERT INTO trial_params VALUES(22,3,'batch_size',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [64, 128]}}');
INSERT INTO trial_params VALUES(23,3,'label_smoothing',0.060874486781916183064,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.2, "log": false}}');
INSERT INTO trial_params VALUES(24,3,'activation',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "leaky_relu", "elu", "silu"]}}');
INSERT INTO trial_params VALUES(25,3,'dropout',0.43480392607953771699,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(26,3,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 3}}');
INSERT INTO trial_params VALUES(27,3,'width',106.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 512}}');
INSERT INTO trial_params VALUES(28,3,'taper',0.91508656560452228401,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(29,4,'optimizer',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["sgd", "nesterov", "adam", "adamw"]}}');
INSERT INTO trial_params VALUES(30,4,'lr',0.0073443781152515907537,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.05, "log": true}}');
INSERT INTO trial_params VALUES(31,4,'momentum',0.94428513936355773505,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.8, "high": 0.98, "log": false}}');
INSERT INTO trial_params VALUES(32,4,'weight_decay',2.9349491149140021254e-05,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-06, "high": 0.01, "log": true}}');
INSERT INTO trial_params VALUES(33,4,'batch_size',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [64, 128]}}');
INSERT INTO trial_params VALUES(34,4,'label_smoothing',0.11026135784401487616,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.2, "log": false}}');
INSERT INTO trial_params VALUES(35,4,'activation',2.0,'{"name": "CategoricalDistribution", "attributes": {"choices": ["relu", "leaky_relu", "elu", "silu"]}}');
INSERT INTO trial_params VALUES(36,4,'dropout',0.072390625403170150153,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 0.5, "log": false}}');
INSERT INTO trial_params VALUES(37,4,'depth',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 3}}');
INSERT INTO trial_params VALUES(38,4,'width',84.0,'{"name": "IntDistribution", "attributes": {"log": true, "step": 1, "low": 64, "high": 512}}');
INSERT INTO trial_params VALUES(39,4,'taper',0.69252401651768269452,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
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
INSERT INTO trial_values VALUES(1,1,0,0.86624999999999996447,'FINITE');
INSERT INTO trial_values VALUES(2,2,0,0.86437500000000000444,'FINITE');
INSERT INTO trial_values VALUES(3,3,0,0.60775000000000001243,'FINITE');
INSERT INTO trial_values VALUES(4,4,0,0.76512500000000005506,'FINITE');
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
INSERT INTO trial_intermediate_values VALUES(1,1,2250,0.72875000000000000888,'FINITE');
INSERT INTO trial_intermediate_values VALUES(2,1,4500,0.80812499999999998223,'FINITE');
INSERT INTO trial_intermediate_values VALUES(3,1,7200,0.86624999999999996447,'FINITE');
INSERT INTO trial_intermediate_values VALUES(4,2,2250,0.39237499999999997379,'FINITE');
INSERT INTO trial_intermediate_values VALUES(5,2,4500,0.7524999999999999467,'FINITE');
INSERT INTO trial_intermediate_values VALUES(6,2,7200,0.86437500000000000444,'FINITE');
INSERT INTO trial_intermediate_values VALUES(7,3,2250,0.44924999999999998268,'FINITE');
INSERT INTO trial_intermediate_values VALUES(8,3,4500,0.56862500000000004707,'FINITE');
INSERT INTO trial_intermediate_values VALUES(9,3,7200,0.60775000000000001243,'FINITE');
INSERT INTO trial_intermediate_values VALUES(10,4,2250,0.5739999999999999547,'FINITE');
INSERT INTO trial_intermediate_values VALUES(11,4,4500,0.73599999999999998756,'FINITE');
INSERT INTO trial_intermediate_values VALUES(12,4,7200,0.76512500000000005506,'FINITE');
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
INSERT INTO tune_schema VALUES(1,5);
CREATE TABLE tune_studies (
	study_id INTEGER NOT NULL, 
	target_trials INTEGER NOT NULL, 
	spec JSON NOT NULL, 
	created DATETIME NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO tune_studies VALUES(1,4,'{"task": "twodigit", "space": {"model": "mlp", "optimizer": ["sgd", "nesterov", "adam", "adamw"], "lr": {"low": 0.001, "high": 0.05, "log": true}, "momentum": {"low": 0.8, "high": 0.98}, "weight_decay": {"low": 1e-06, "high": 0.01, "log": true}, "schedule": "cosine", "batch_size": [64, 128], "label_smoothing": {"low": 0.0, "high": 0.2}, "averaging": 0.1, "pairing": "fresh", "shift": 0, "affine": 1.0, "activation": ["relu", "leaky_relu", "elu", "silu"], "dropout": {"low": 0.0, "high": 0.5}, "depth": {"low": 1, "high": 3}, "width": {"low": 64, "high": 512, "log": true}, "taper": {"low": 0.5, "high": 1.0}}, "epochs": 0.2, "epoch_images": 36000, "validation_pictures": 4000, "seed": 3, "sampler": "tpe", "pruner": "asha", "references": ["course-mlp", "course-conv"], "checksums": {"train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"}, "halvings": 4, "norm_images": 512}','2026-11-29 16:44:20.844799');
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
INSERT INTO tune_claims VALUES(1,1,0,'host:26986:c9cca6fa:45e50dba','d7042371ba85d52fd79d926d6ef6d6a0',1,1,'2026-11-29 16:45:37.796859');
INSERT INTO tune_claims VALUES(2,1,1,'host:26986:c9cca6fa:45e50dba','8d9a66621257d5899a126609b4091f77',2,1,'2026-11-29 16:45:57.929571');
INSERT INTO tune_claims VALUES(3,1,2,'host:26986:c9cca6fa:45e50dba','89c7e488a2af1388d1ce927f0c494d5c',3,1,'2026-11-29 16:46:08.127116');
INSERT INTO tune_claims VALUES(4,1,3,'host:26986:c9cca6fa:45e50dba','bfd370bb77d5b64d6806153ad4a59cfa',4,1,'2026-11-29 16:46:18.195144');
CREATE TABLE tune_offers (
	claim_id INTEGER NOT NULL, 
	study_id INTEGER NOT NULL, 
	token VARCHAR(32) NOT NULL, 
	PRIMARY KEY (claim_id)
);
CREATE TABLE tune_points (
	trial_id INTEGER NOT NULL, 
	images BIGINT NOT NULL, 
	seconds FLOAT NOT NULL, 
	learning_rate FLOAT NOT NULL, 
	train_joint FLOAT NOT NULL, 
	validation_joint FLOAT NOT NULL, 
	PRIMARY KEY (trial_id, images)
);
INSERT INTO tune_points VALUES(1,2250,1.0000968259998899156,0.010000000000000000208,0.24175347222222220988,0.52900000000000002575);
INSERT INTO tune_points VALUES(1,4500,2.1121687180000208172,0.010000000000000000208,0.55580357142857139685,0.65175000000000005151);
INSERT INTO tune_points VALUES(1,7200,3.4829787429998759762,0.010000000000000000208,0.64360119047619046561,0.7517500000000000293);
INSERT INTO tune_points VALUES(2,2250,6.5529828480000560375,0.010000000000000000208,0.034722222222222223764,0.15700000000000000066);
INSERT INTO tune_points VALUES(2,4500,13.086800614999901881,0.010000000000000000208,0.265625,0.56149999999999999911);
INSERT INTO tune_points VALUES(2,7200,20.005220977999897513,0.010000000000000000208,0.49255952380952383595,0.74299999999999999378);
INSERT INTO tune_points VALUES(3,2250,2.3190867000000707776,0.0014922440961917060684,0.0625,0.20374999999999998667);
INSERT INTO tune_points VALUES(3,4500,3.6991862630000014178,0.00058902204015990732716,0.18035714285714285476,0.31574999999999997513);
INSERT INTO tune_points VALUES(3,7200,4.9820187499999519786,0.0,0.22135416666666665741,0.36399999999999999023);
INSERT INTO tune_points VALUES(4,2250,3.6185117139998510538,0.0056806860989715556725,0.11545138888888889505,0.32924999999999998712);
INSERT INTO tune_points VALUES(4,4500,4.9229571509997640532,0.0021970875147168146546,0.38758680555555558022,0.53749999999999997779);
INSERT INTO tune_points VALUES(4,7200,6.1045918679997157596,0.0,0.48251488095238093123,0.57874999999999998667);
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
INSERT INTO tune_head_points VALUES(1,2250,0,'first_digit',1.722779929379208319,0.46831597222222220988,0.94441703701019286132,0.7375000000000000444);
INSERT INTO tune_head_points VALUES(1,2250,1,'second_digit',1.7560800180460016672,0.44965277777777779011,0.99457868024706841403,0.71999999999999997335);
INSERT INTO tune_head_points VALUES(1,4500,0,'first_digit',0.79961901091571363497,0.74732142857142858094,0.59820082168281074608,0.81650000000000000355);
INSERT INTO tune_head_points VALUES(1,4500,1,'second_digit',0.80546676471297229404,0.75178571428571427937,0.60657926815748219873,0.79974999999999996092);
INSERT INTO tune_head_points VALUES(1,7200,0,'first_digit',0.61436650325499830849,0.80394345238095232808,0.46178082814812659862,0.86975000000000002309);
INSERT INTO tune_head_points VALUES(1,7200,1,'second_digit',0.60132789155024857219,0.80691964285714290472,0.46028815454244614846,0.86275000000000001687);
INSERT INTO tune_head_points VALUES(2,2250,0,'first_digit',2.254817526942739736,0.17404513888888889505,2.0585012903511525905,0.45024999999999998356);
INSERT INTO tune_head_points VALUES(2,2250,1,'second_digit',2.2524142636296651254,0.17664930555555555247,2.0732187558412551453,0.33450000000000001953);
INSERT INTO tune_head_points VALUES(2,4500,0,'first_digit',1.5209782076733453504,0.51249999999999995559,0.7579796164929867297,0.78274999999999994582);
INSERT INTO tune_head_points VALUES(2,4500,1,'second_digit',1.5516906219401529476,0.50133928571428576503,0.820777917474508234,0.72224999999999994759);
INSERT INTO tune_head_points VALUES(2,7200,0,'first_digit',0.84789596863889271638,0.71800595238095232808,0.41118331561982629507,0.88775000000000003907);
INSERT INTO tune_head_points VALUES(2,7200,1,'second_digit',0.88506816194525783636,0.69456845238095232808,0.50121843685209754859,0.8409999999999999698);
INSERT INTO tune_head_points VALUES(3,2250,0,'first_digit',2.2200418800736465563,0.20182291666666665741,2.0049557948708534027,0.42499999999999998889);
INSERT INTO tune_head_points VALUES(3,2250,1,'second_digit',2.178868646811073173,0.22873263888888889505,1.9814849151074886979,0.47349999999999997646);
INSERT INTO tune_head_points VALUES(3,4500,0,'first_digit',1.9230201736092566999,0.41696428571428573173,1.8115284073948860754,0.5562500000000000222);
INSERT INTO tune_head_points VALUES(3,4500,1,'second_digit',1.9167656593556914312,0.43169642857142859204,1.8011578354090451714,0.58099999999999996092);
INSERT INTO tune_head_points VALUES(3,7200,0,'first_digit',1.8389997827776132233,0.4616815476190476164,1.7365158555358648495,0.59875000000000000444);
INSERT INTO tune_head_points VALUES(3,7200,1,'second_digit',1.8165405829037939433,0.49516369047619046561,1.72836060081422338,0.61675000000000002042);
INSERT INTO tune_head_points VALUES(4,2250,0,'first_digit',2.0621598339639604091,0.32769097222222220988,1.7413298503458500832,0.53800000000000003375);
INSERT INTO tune_head_points VALUES(4,2250,1,'second_digit',2.0924457709770649671,0.31814236111111110494,1.7595896257758141256,0.60999999999999998667);
INSERT INTO tune_head_points VALUES(4,4500,0,'first_digit',1.4070314717116869651,0.63324652777777779011,1.152772351592779243,0.7580000000000000071);
INSERT INTO tune_head_points VALUES(4,4500,1,'second_digit',1.4376732845428503715,0.62369791666666662965,1.1923338327109813672,0.71399999999999996802);
INSERT INTO tune_head_points VALUES(4,7200,0,'first_digit',1.1563820068147920849,0.71763392857142860314,1.0277879347354172967,0.78200000000000002842);
INSERT INTO tune_head_points VALUES(4,7200,1,'second_digit',1.2049100711232139104,0.67633928571428569842,1.0617904701828957403,0.74824999999999997069);
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
INSERT INTO tune_workers VALUES(1,'host:26986:c9cca6fa:45e50dba','host',26986,'cpu',1,'{"device": "cpu", "cpu": "AMD EPYC", "cores": 2, "threads": 1, "cpu_capability": "AVX2", "bfloat16_instructions": "none", "torch": "2.13.0+cpu", "python": "3.11.7", "platform": "Linux-6.18.44-fc-v657-x86_64-with-glibc2.36", "precision_mlp": "float32", "precision_conv": "float32", "artifacts": "/home/user/studies.artifacts"}','2026-11-29 16:45:07.588851');
CREATE TABLE tune_precisions (
	study_id INTEGER NOT NULL, 
	processor VARCHAR(200) NOT NULL, 
	family VARCHAR(32) NOT NULL, 
	precision VARCHAR(32) NOT NULL, 
	PRIMARY KEY (study_id, processor, family)
);
INSERT INTO tune_precisions VALUES(1,'cpu: AMD EPYC, bfloat16 by none','mlp','float32');
INSERT INTO tune_precisions VALUES(1,'cpu: AMD EPYC, bfloat16 by none','conv','float32');
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
INSERT INTO tune_checkpoints VALUES(1,1,'0001-old-d3df44f6/trial-00000-7200.safetensors','b88714b4518738e246f04708d3576071e8d57250a7b54f1c42010d317b8cff12',0.86624999999999996447,7200,307376);
INSERT INTO tune_checkpoints VALUES(2,1,'0001-old-d3df44f6/trial-00001-7200.safetensors','b530f1d4b116e997c9fb1eafd8ff93fe6b039f70fa2c7c49c9b7bd31f65999dc',0.86437500000000000444,7200,385928);
INSERT INTO tune_checkpoints VALUES(3,1,'0001-old-d3df44f6/trial-00002-7200.safetensors','9921b2363d7fee3b1a1c80cad95476793478e68a920dbd12b0c739696363cebe',0.60775000000000001243,7200,508504);
INSERT INTO tune_checkpoints VALUES(4,1,'0001-old-d3df44f6/trial-00003-7200.safetensors','65637b35b46d529dd327715454da5435e847118b0664da6109dcd089989299c3',0.76512500000000005506,7200,403168);
CREATE TABLE tune_weights (
	trial_id INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	position INTEGER NOT NULL, 
	content BLOB NOT NULL, 
	PRIMARY KEY (trial_id, sha256, position)
);
CREATE TABLE tune_answers (
	trial_id INTEGER NOT NULL, 
	split VARCHAR(16) NOT NULL, 
	head VARCHAR(64) NOT NULL, 
	position INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	examples INTEGER NOT NULL, 
	bits BLOB NOT NULL, 
	PRIMARY KEY (trial_id, split, head)
);
INSERT INTO tune_answers VALUES(1,'validation','first_digit',0,'b88714b4518738e246f04708d3576071e8d57250a7b54f1c42010d317b8cff12',4000,X'ffefb5feffffffffffff7fffc6cdffdeffdffdf7fb6b7ffdffefddffbefbfffeffcd9ff7f7f7fcbff77bf7fbb7efff7f7fbff2dbfffffffef77fffdf7fbfbbefef7fbfbefff7fddf7ef77fffbfffbfffedeffeffd9ffbfffef6fff7ff5fbfffff979ffdffceffffedff5fbf7dffbfd9fff5fffffffaffbfdffdffebe7bcf7fbedfffef9ffeeb7fcfffafeffaddffaefffeecfe7eeafddb6ff9fff6ffdf5f7bfffdfff6fffd9fffefbfdfd5efffffff767ffb7fb7def77ffff7dff9efefeafffbffffff7ffbf7fffffeb7ff36affffdfffdefded5ffdfafffffff7bffed7fffffefffaffeb5de5fffffefffffff5ffbff1f7fdffffe3b6ef7337ffbfefcfffeffff5ff5fddf6ffdfffdfffffffffeeffffdfffffffefddfefffffffffffbddbbfeffefffbfbb6ffbfbf7ff7fbffff7f9fbffffff7fefdbfeffffffffffff37ffffcffffdf737afeebfffffdff5f9fbfea777fe9ff9f5e7ffebff7d7ffdfffffdff77ffdffbff73fffee77de6fafef6b717fffe7defffeffefff9fefffbffff9ff3dbff6febefefefef5ffffffffffdfeffbfffffefdfeffdffff6effef6dbfffffddffdbfffff7ff5bcdb7efffe7fff7ffcffffffbbdffffffffffdfdbe7ffbdfffd957fefff1ffff7ff5fddeffffff6fffbfeffffbcdfdff6bfaff6fefff7bcfb7fefff7d7f7df3ffff3f9fffff5fffdfadd77fe');
INSERT INTO tune_answers VALUES(1,'validation','second_digit',1,'b88714b4518738e246f04708d3576071e8d57250a7b54f1c42010d317b8cff12',4000,X'7e7ff4d9dffdffffbddfffbebfffe5efefcffdb7efdf7f3ffefffffdfb7eb7ffb7fdff7ff7fbbff6fbbffbf5ffbffbff7fffbfdf7feffddedfbddfbfaeff3fbffffc77fededbebbffff7fef77ff7fffffffdffefffffbff7f6ffbf3fbdafedffffffebfdefadffebfff6bbbfbddffeffafffdffdfff3fffd7fbfff7bf7fed74ff7ffef3f9bdff77ffffffeffffffff7fbf3f7ff7bfed7ff57ff5ffdfdffefbfffbf7fbb7fc7fbf5f9bffbffffffffffdbbf7ff27cfed6cedffffffffbdfdfffaebfffffffff7ffffbbfefef5f3bfdfffffbf7fcddf7fffbffcffcffeddff7ffef7fffcfbff7fff77ffef5ff9f2f7df4edffff9b7fed7ff9fbfff77f7fdfffd9dff9dfff7f7feff7ffffaebbff9feaf97f7bdfffdffd7ffb7fffb7feeffffffffbfffbf73bdfb7fbffff7ffefffefbffffedffdfffaffbfb7f7ff6dbfeffbffffedfffefbffbd7fefdffffdf7bffbffffffbbdffff7f73ffeffff7e3f77ffdfdffffe7f7ddff7ffffffffbf7dedffff1ffc75bfeffdfff9fee9fcfdedffffefffff8ccfdee76ddde7ffffe7bdac5ffdfd6fffbfcfffff6fffbfedfdfbff5ebeeeffdd7e7eff7bf6ff77eafeffbeffffffbfffffe5efc7dff7ffbdafd7ffc9fefd7fefbffabefffffbf6befbdefffffffffff33bfffdffb6f9f8fffff7fdfbffbb9dfbffffcffffffeff7bffbffeff3f97edfbf6df');
INSERT INTO tune_answers VALUES(2,'validation','first_digit',0,'b530f1d4b116e997c9fb1eafd8ff93fe6b039f70fa2c7c49c9b7bd31f65999dc',4000,X'fffdf57efefffffbffff7ffbe6ffffffffdbfdf7fb7f7ffdffffdfafbefbfd7fffcfbfffffe7fcd7777ff7ffb7effffff7fff6ffffff7ffeff7dffdbf7bfbbffffbfbfeffffffdddffffffffbfffbfffefefffbf99e7bffbef6fff7ffdfbfdfbfbfdbfd7fcebfefedfeffff7dffff9dffd5ffbffffffffffbfdfeeff7fefff3efff7fffdffff3dcfffbfffffddf7beffff7cfe7e6a7ddb4ffdfff6ffdf5f7bfefefff6fbf5bffbeffbffb5fffff7fffeffff7fb7dff77dffff9df9ffffeefffffffbfffffff77fffffb6ff36affffdfffdeecbd5ffffbffffffdffffec7ffdf7efffaffeb5fedfffffff7fffbf5ffbfe3fffcbffff7f7affb77fbffefdfffeffffdff5fdffeffffff5fffffffffefefffffffffffeffffefffffffcfffbddfffeffedffbffbeffbffffff37fffff5fdfbffffff7befdbfffdffffffffff37ffffcffffdffffbee7bfffffdfbff9fbf6e77dfe9ffb75fffffbfffc7fedfffffdff7fffdffbfffffff6ef7fe7fafef6b79ffffe67fffefffeff7bfefffff9ffdf7bffffefffffefffef7fffffffffff7effbfff7fff5fffefffef6effffedbfffffddffdbfffff7ffffcdf7efffeffff7fffff7fff9bdff7fffd7fdddfbe7ffbdffbdd5fbefff9fff73ffdfdfefffff76fbffeeffffbcfedffbb7fffefedff73cff7feff73dfffdf7fbffff9fffff7fffffa7de7ff');
INSERT INTO tune_answers VALUES(2,'validation','second_digit',1,'b530f1d4b116e997c9fb1eafd8ff93fe6b039f70fa2c7c49c9b7bd31f65999dc',4000,X'7b3bfdd0dfddfbffbffbffacffefe9efe7cdfdbbe7ffbfbfbefffffdfbfe36fff7ffff7fffdbbff6fbefba75ff9fffdf7ff7bff7ffecfddfdbad9f37beff3fbffffc77ffdfdffbff5ffddefff7dffdffffffdfff7ffb9ff1f6ffbebfb7afffeefff5f9ddefad7febbff6bbbfbcd7fe7fafeddffdffe3ffeffdbbbb5bf6ff9d5fffffef37bffff77fffbbfebffffff7ffbfbfeff7b7fd77fdbffdffdf8ffefbffffd5fff5ef7d37dfffffffffffffeff9bbfffe87efed6dedffffffff9dfdfffba1bedb7ff7fffdffbbfecff5f3bfddffffff7feedffefdbbfefbcfedffff6efcbfdfbedfff6bfff7f3ff6ffbf3ffdfeffffffff7ffd7ff9fbdff7af7f7ffbfffff39ffffffffff7ffb3bebf7bcefb797f7bffff7ef973fc5f7fb7feeef3e7effffef2d36bdfb77bfffffffafefef9ffffeffddff7a96ffb7f7ff6fffefffffffef9ffefbfbbf7fefdfffedfbfffbd7ffffabbffff7d73efddfff7e7d77ffdfd7fffe3f7fdffffedfffdfaf7cefffff17fcfcaffffffbbbfee9fcbdbffffdfffff7dd9bfec6edddfffdebe7ff7b5efddfaffffffbff7ad7be3fedfcfb5ff6b6ef7ffd7e7fffddf6f77feefedfbffffff7bdbfefe5eba577fcafbf7fdd6fc0fbfffbfbfffebef5dffff7fafbdedfdfffef7e733df6f5debef1fafbf7f6fdffffaffdfbffffdfeff9beff7bffbffebf7fb3fdbffedf');
INSERT INTO tune_answers VALUES(3,'validation','first_digit',0,'9921b2363d7fee3b1a1c80cad95476793478e68a920dbd12b0c739696363cebe',4000,X'd31b9476f5d761f9ebbd6d2ec68f8bcefbcbe8f149c91edbdc69d9fab63277387dc59ae679c6bda6fd71f47c97a3fffc67a5de32d783c71e972d879b74aab775d3ef31b84de5dc35fe54b3cebfbfb7dba5d5f60d81c61ffee13fbded45dac7f279e12fc268fbead31f82aad03ffa2a9f2a7bfdba1e95fb75370d32ee5a244556dbe262c9fac3658ddeaffe5b3deb3cefcad4bdbb68fcdb2750a8c275fb567bfb1a6dc653dd8fbfe6a1c9c4cc7dcfd19777897ba2de53db1a93ed796f653af77eebfb7d7f1bd767ec78e6f236267eb8d67dfc4ec5d4a3a5bf5f2fef6bec6abdf1af9dcff88a9e57b65acbe6f1a751cbde0f6d03ad593968f57bf5b79ee5bdbcfd5a9765fc4c6fbb5435fbe75fe5fe6f73f5bebecbf6866eec587f5db9f7b1f324abbe445863bcfa2fdb1f5039af54681dd1f1c636aeb5e0c8cbcf77a43ab34fcfe4dbddc712baaff5c2fe23fb831fa7292589e9f79f4e77f7bebfc75455803f5bbfcd15f60ef5f82778371e63bcce4a7977ffb55bc7e6beea978d678f3b0451030c2beedebefe3e1874fcd650896e45e93bc862fe25ae6d93ee266fe4c1d3febff856d1bc4ef63cd57cd73efce62dad22f0f4bf4b9b57361df87ff55e6e17369dd1db4738b3b17ffc1f62bee66bfdbd681abaa6ef3dc67dbfa26ba75f65a703c237cefefacebf9cce07eab54b93e35a42cb39a346');
INSERT INTO tune_answers VALUES(3,'validation','second_digit',1,'9921b2363d7fee3b1a1c80cad95476793478e68a920dbd12b0c739696363cebe',4000,X'78287157f9fcf52dfd9be98db3c9e0edb48d6ca3e1ef153fb29f7661bbb61dfe77ab7f17f7bbb4a5bbbffad562f77eba2e273eb78f4e6541e9ae0a7726cf37bfbdfc53fa779beabf6ef678e436d8fee6f566b7cfed719b57f6d50631f70e7c8e3f77e3ddefa87bc137e6993bb891fa79bf6157ff4fe91be57e9ba212b0789519f3fbcd0f1add9d5ae61d6eaff61fbd7aae17fbf126cd7af0bbb57cdf8db2fb77dff2ffb5ac7dbe1e9bfe2ddaceddbfec9b77fc07afe54c69ffe747f59df8efa083b8b75f6ea5994bb28e667432b69beff69f3febfd4ee8b3c66d0ece487d78aab77fbe6a476dff37f1868f9940b3d786f77fd9975ee9eddf31da1f8745aebc6dd30bfe67e1b4fb3efbc0abb398eca505e6f7fff41f07b9b7fecfae4e8a6efe3b1fbf7b3a8dfb37baf5b1bbee70697ff93adf9d9b42ca3c83d4f94d1d6bfa7a3fed1e7f29f7acc8f55efee783bd73f6f55d838f6ce767aef95ed77e1953ebdf157ed4a66e45edaeb1df83bf91e92eed1770109fe95cba29bae0675cedd9b6cf0ee20dcb3efa61c0c37bfba63d3d78e57d465da54b7bfee5a43f84fc73b31492ec5dcb7e7efb1196fd71faf89835e5d5f7fde7efa48bc14df08eafa3c573c8fcd539cb9baabaf5dff5eefa7ade53f3bdbfda23a9f6c54bb4f770def7d22cabffa88dfefeefdb23defafb759baafc5d3e97eda5f2dd');
INSERT INTO tune_answers VALUES(4,'validation','first_digit',0,'65637b35b46d529dd327715454da5435e847118b0664da6109dcd089989299c3',4000,X'dfd3b67ef6bffbdbfffb5fff46cffffefffbf8f1ff7f5fffffefd9bb9ebbf75ceecd297ffae7fdb7777bf53fbfebff3fffaff6df7fdfe7feff7dbf9b77bab36feb3e33aafbf5fd7fef77bfffbbdfb7dff5eff7f599e79fefe75fefefa5fbfdff7b79bfcfeceffafeffe5aaf3dffa2bbf3f5bffbfbfaffbf5b71deefeff2f5fb7dfffffaffeeb2d8d77afcfdedff7bcefdee1bf7e6a6ddb4dfdfffef5df567bfbfaefd67bd19ffbe76fdfd4ecfdf5ff765beb5ff6def3ffbbf5fdf9eeeffafffbeffb7dfebbf777ffffb6f72627fffcfff9eadac5fffaa7fd7fbdff7fe57ffdfdef7faff8bffe5fff5f5bfffbbf55fbff1f6fcbffdc7b62e73bfff39ef9ffdefdff5df57d5d69ffffbdfbfffffbfeefffbdbfbffdfeffffff7dffdfdcfffffbbeefbefdfb6bbeffbfbf5fe33bffff7f1fdfff7ff7fea4bef9dffffffe3ff35feffcdfffcf737aee43faff9fbb9b9faf6a339f69ef8f5e7fffbffdd6efdff9ffdeffeffdb7bef7fa2f7ef77f67afcd6779f7fff7faefffb7eeb79feabfbf8f5b0f342bd67f7ef6abdcf5fffaff9ffecfef3bffb2fe6ddff4ffee7f6fe6f7d3f7ffbddffd9defef3df5bcdfeefcfa6fcb7ff1ffffef9bcf77fdfffffdffbe3dfbd7bb9157fefff1fdf63fe6fcfeeb7fff7f9b7eedffffcf6cff977af76ffdfd32cfff6afef7defe9effcfe8f9679fb4df67ef7d25ee');
INSERT INTO tune_answers VALUES(4,'validation','second_digit',1,'65637b35b46d529dd327715454da5435e847118b0664da6109dcd089989299c3',4000,X'7a797556dfddff3fbf9bffbcbbff61fdefcdedb3e4db373bb6ff7eedbbfe37fb7fbf3f7ffabafff6fb7ffa76dfdffbfe3eefbcdfcf6c7d55c9addbbfacff36b9fff477ffd7dfe2bf77ff9f6d37c7eee6ffffdfef7ff4cff0eed73e7bb58fefbeff75d1f5efadffeffdf6b93fbddffe7f8ffd5ffdfdfbfbed7cbfb3dbf67c17ddfbff8f3f9efdf75fff5ffeaff67fb77abf1e77f197ed77f33f957edf95feffdfdbd7fbf7ef7dbfbf9bfebffefefbcfedbbf7ff87afed6c6fffdfedf79df4d7b9abdbd7d763f6eddbbafeec77b3bd5afffb9f7eccdfdffdbbbcffc7ceddff7efebfdfbe93f76ffbf7f3ff5bb972b7df4edf7ffbb7fe87ff1f3ddb77ffb9efb5dffb9def7ffbbcfb3efb0aafb1b8edbf87fe37f7fd8f1679f7fdfb6eefcdeeffff3fffef769dfb7fdaf5b5ffedefe8dbfd7ebfddff6e9a6ea7e7f96f9defff7e376d1ffdfbe8dd7eefd5fcede7fcfb97fd3e8bb7f7f3d637fcfedf7e3f33f7dfd1efd6776d77febeb3ffd3bef5eb9fef1f7414bfefdfba39fbe9fd99adfbb7ef67e68c5fdef665ddcff9ef87bd2d5ce5f90effb7cbfffe6fae3dacfcfbd756b2ee7f9f7e7efb19f6fd3f68f89d0efbf7f7ad9bade5aba5d7fdbbb7bbc7ebc9fcdd7befbbe3befdfffbeffefbfe9ff7ffcffef399f7bfdfbef1faf6f7d32cffffb81dffff6bd3ffdffef87ffb9ffeaf7f97fdfbf2de');
CREATE TABLE tune_looks (
	trial_id INTEGER NOT NULL, 
	moment DATETIME NOT NULL, 
	study_id INTEGER NOT NULL, 
	reason VARCHAR(500) NOT NULL, 
	pictures INTEGER NOT NULL, 
	joint FLOAT NOT NULL, 
	PRIMARY KEY (trial_id, moment)
);
CREATE TABLE tune_head_looks (
	trial_id INTEGER NOT NULL, 
	moment DATETIME NOT NULL, 
	head VARCHAR(64) NOT NULL, 
	position INTEGER NOT NULL, 
	accuracy FLOAT NOT NULL, 
	PRIMARY KEY (trial_id, moment, head)
);
CREATE TABLE tune_deleted_looks (
	look_id INTEGER NOT NULL, 
	task VARCHAR(64), 
	study VARCHAR(512), 
	moment DATETIME, 
	reason VARCHAR(500), 
	pictures INTEGER, 
	joint FLOAT, 
	accuracy FLOAT, 
	PRIMARY KEY (look_id)
);
CREATE TABLE tune_exports (
	trial_id INTEGER NOT NULL, 
	moment DATETIME NOT NULL, 
	study_id INTEGER NOT NULL, 
	folder VARCHAR(500) NOT NULL, 
	manifest_sha256 VARCHAR(64) NOT NULL, 
	PRIMARY KEY (trial_id, moment)
);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
CREATE INDEX tune_checkpoints_study ON tune_checkpoints (study_id, score);
CREATE INDEX tune_looks_study ON tune_looks (study_id);
CREATE INDEX tune_exports_study ON tune_exports (study_id);
COMMIT;
