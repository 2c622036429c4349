#!/bin/sh
# Wrong input of every kind: one sentence on stderr that names what to change, a non-zero exit, nothing half-written.
limbeck=$1
dir=$2/bad
rm -rf "$dir" && mkdir -p "$dir" || exit 1
cat >"$dir/good.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 200, test: 50, height: 8, width: 8, classes: 4}
model: {name: mlp, hidden: [8]}
train: {epochs: 1, batch: 32, threads: 1, lr: 0.05}
Y
bad=0
# refused CODE WORDS COMMAND...: expect exit code CODE and WORDS on stderr
refused() {
    code=$1; words=$2; shift 2
    "$@" >"$dir/out" 2>"$dir/err" </dev/null; got=$?
    if [ $got -ne "$code" ] || ! grep -q -- "$words" "$dir/err"; then
        echo "FAILED: $* -> exit $got (want $code), stderr: $(cat "$dir/err") (want: $words)"; bad=1
    fi
}
t="$limbeck train $dir/good.yaml --fresh"
[ "$("$limbeck" --version | sed 's/[0-9][0-9.]*$/N/')" = "limbeck N" ] || { echo "FAILED: no version"; bad=1; }
refused 2 "did you mean train" "$limbeck" trian
refused 2 "did you mean --set" "$limbeck" train x.yaml --sett a=b
refused 1 "no such file" "$limbeck" train "$dir/missing.yaml"
refused 2 "did you mean 'epochs'" $t --set train.epocs=3
refused 2 "it must be in \[1, 1e+06\]" $t --set train.epochs=-1
refused 2 "a number is needed" $t --set train.lr=fast
refused 2 "did you mean resnet" $t --set model=resnt
h=$(awk '/^MemTotal/ { h = int(sqrt($2 * 1024 / 12)) + 1; if (h <= 65536) print h }' /proc/meminfo) # as wide as memory
[ -z "$h" ] || refused 1 "make the layers smaller" "$limbeck" config check "$dir/good.yaml" --set "model={name: mlp, hidden: [$h, $h]}"
refused 2 "6 n + 2" $t --set 'model={name: resnet, depth: 9}'
for m in much 5X 12 -1G 1e99 500MB; do refused 2 "train.memory is '$m'" $t --set train.memory=$m; done
refused 1 "the limit is 2000" $t --set train.memory=2K
refused 2 "there is no optimizer 'sgdd'" $t --set train.optimizer=sgdd
refused 2 "did you mean idx" $t --set data=idxx
refused 1 "dataset-fashion-mnist" $t --set "data={name: idx, path: $dir}"
refused 2 "split asks for" $t --set split.train=100000
refused 2 "backend 'gpuu'" $t --set train.backend=gpuu
refused 2 "give split.validation some samples" $t --set train.patience=2
refused 2 "give split.validation some samples" "$limbeck" config check "$dir/good.yaml" --set train.patience=2
refused 2 ".run. is empty" $t --set run=
refused 2 "has no stage 'student'" $t --stage student
refused 2 "there is no table 'opps'" "$limbeck" list opps
refused 2 "give one table" "$limbeck" list ops models
refused 2 "check op" "$limbeck" check op Relu Add
refused 2 "--seed x" "$limbeck" check op Relu --seed x
refused 2 "--batch 5x; it must be a whole number in" "$limbeck" inspect "$dir/good.yaml" --batch 5x
refused 2 "--batch 0" "$limbeck" bench "$dir/good.yaml" --batch 0
refused 2 "takes no value" "$limbeck" train "$dir/good.yaml" --fresh=no
refused 2 "no option --logits" "$limbeck" infer "$dir/good.yaml" x.onnx --index 0 --logits x.npy
refused 2 "no option --index" "$limbeck" eval "$dir/good.yaml" x.onnx --index 0
refused 2 "give a configuration" "$limbeck" eval "$dir/good.yaml" x.onnx y.onnx
head -c 300 /dev/zero >"$dir/zeros"
: >"$dir/nothing"
refused 1 "nothing has no bytes" "$limbeck" inspect "$dir/nothing"
refused 1 "zeros: no configuration, .onnx, .lmb or checkpoint" "$limbeck" inspect "$dir/zeros"
[ ! -w /dev/full ] || refused 1 "could not be written" sh -c "$limbeck list >/dev/full"
refused 2 "no case of 'Konv'" "$limbeck" check op Konv
# every command reads its configuration alike
printf 'a: [1\n' >"$dir/broken.yaml"
cat >"$dir/journey.yaml" <<Y
run: $dir/run
data: {name: synthetic, train: 200, test: 50, height: 8, width: 8, classes: 4}
split: {validation: 20, clients: 60}
teacher: {model: {name: mlp, hidden: [8]}}
student: {model: {name: mlp, hidden: [4]}, quantize: {}}
federation: {clients: 2}
compress: {accuracy_drop_max: "50 %"}
Y
for command in "run CONFIG" "train CONFIG --stage teacher" "distill CONFIG" "compress CONFIG" "export CONFIG" "serve CONFIG" "federation invite CONFIG" "join CONFIG" "eval CONFIG x.onnx" \
    "infer CONFIG x.onnx --index 0" "config check CONFIG" "config show CONFIG" "inspect CONFIG --stage teacher"; do
    with() { echo "$command" | sed "s#CONFIG#$1#"; }
    # shellcheck disable=SC2046
    {
        refused 1 "missing.yaml: there is no such file" "$limbeck" $(with "$dir/missing.yaml")
        refused 1 "not valid YAML" "$limbeck" $(with "$dir/broken.yaml")
        refused 2 "did you mean 'data'" "$limbeck" $(with "$dir/journey.yaml") --set dta=1
        refused 2 "it must be in" "$limbeck" $(with "$dir/journey.yaml") --set launch.ranks=0
        refused 2 "did you mean --set" "$limbeck" $(with "$dir/journey.yaml") --sett a=b
        refused 2 "needs a value" "$limbeck" $(with "$dir/journey.yaml") --set
        refused 2 "--set" "$limbeck" $(with "$dir/journey.yaml") --set launch
    }
    case $command in config\ show*|inspect*) continue ;; esac
    # shellcheck disable=SC2046
    case $command in federation*) ;; *) refused 2 "did you mean 'synthetic'\|did you mean synthetic" "$limbeck" $(with "$dir/journey.yaml") --set data.name=syntetic --set "run=$dir/never" ;; esac
done
[ -e "$dir/never" ] && find "$dir/never" -type f | grep . && { echo "FAILED: a refused command leaves files"; bad=1; }
for part in student.quantize.qat.momntum=1 federation.server.rouds=3 federation.local.train.epocs=3 student.model.hiden=3 teacher.train.lrr=3; do
    refused 2 "did you mean" "$limbeck" run "$dir/journey.yaml" --set "$part" --set "run=$dir/never"
    refused 2 "did you mean" "$limbeck" config check "$dir/journey.yaml" --set "$part"
done
pair() { # WHY --set ...: what does not go together shows before anything is trained
    why=$1; shift
    refused 2 "$why" "$limbeck" config check "$dir/journey.yaml" "$@"
    refused 2 "$why" "$limbeck" run "$dir/journey.yaml" --set "run=$dir/never" "$@"
}
pair "aggregator median does not work on that" --set federation.server.privacy.clip=1 --set federation.server.aggregator=median
pair "so that privacy.clip bounds nothing" --set federation.server.privacy.clip=1 --set federation.server.codec=topk
pair "leaves most values out" --set federation.server.aggregator=krum --set federation.server.codec=topk
pair "which codec int8 would mix with them" --set federation.server.aggregator=fednova --set federation.server.codec=int8
pair "a host name is given without a port" --set federation.host=fed.example.org:7100
pair "there is no codec 'gzip'" --set federation.server.codec=gzip
pair "one round alone spends" --set federation.server.privacy.clip=1 --set federation.server.privacy.epsilon_budget=0.5
pair "lower target, max_examples or max_abs" --set federation.server.max_examples=1073741824 \
    --set federation.server.max_abs=1000000
pair "can not be more than max_clients" --set federation.server.target=20 --set federation.server.max_clients=10
pair "ring" --set federation.server.target=4 --set 'federation.server.secure_aggregation={clip: 1, ring_bits: 17}'
pair "asks each client's model by itself" --set 'federation.distill={samples: 10}' \
    --set 'federation.server.secure_aggregation={clip: 1}'
pair "numbers beside the model that server_lr" --set federation.server.aggregator=fednova --set federation.server.server_lr=0.5
pair "server wants updates in the clear, and this client" --set federation.client.secure_aggregation.required=true
secure() { why=$1; shift
    pair "$why" --set split.clients=120 --set federation.clients=3 --set federation.server.target=3 --set federation.server.minimum=3 \
        --set 'federation.server.secure_aggregation={clip: 1}' "$@"; }
secure "noise of 0 clips to a sum of 3, this client wants 1" \
    --set 'federation.client.secure_aggregation={required: true, noise_min: 1}'
secure "3 clients at most, this client wants 4" --set federation.client.secure_aggregation.clients_min=4
secure "3 clients at most, this client wants 3 of them and 3" --set federation.client.secure_aggregation.neighbours_min=3
groups() { why=$1; list=$2; shift 2
    pair "$why" --set federation.server.minimum=1 --set "federation.groups=$list" "$@"; }
groups "through federation.distill alone" '[{clients: 1, model: {name: mlp}}]'
groups "needs a .model." '[{clients: 1}]' --set 'federation.distill={samples: 10}'
groups "did you mean 'clients'" '[{client: 1, model: {name: mlp}}]' --set 'federation.distill={samples: 10}'
groups "there is no model 'mlpp'" '[{clients: 1, model: {name: mlpp}}]' --set 'federation.distill={samples: 10}'
groups "less one" '[{clients: 2, model: {name: mlp}}]' --set 'federation.distill={samples: 10}'
pair "dropout is 2; it must be in" --set federation.simulate.dropout=2
pair "did you mean 'evaluate_every'" --set federation.simulate.evaluate_evry=2
pair "privacy.population is 9, the simulation has 2 clients" --set federation.simulate.dropout=0 \
    --set 'federation.server.privacy={clip: 1, sampling: fixed, population: 9, epsilon_budget: 1000}' --set federation.server.target=2
for port in 7000x 0 65536; do refused 2 "--port $port" "$limbeck" federation invite "$dir/journey.yaml" --port $port; done
refused 2 "journey.yaml has no .model. of its own" "$limbeck" eval "$dir/journey.yaml"
for part in distill prune lowrank quantize; do refused 2 "move .$part. to .student." "$limbeck" config check "$dir/journey.yaml" --set "teacher.$part={}"; done
refused 2 "there is no key 'export'" "$limbeck" config check "$dir/journey.yaml" --set export.opset=13
refused 2 "--set student.train.lr: lr is -1" "$limbeck" run "$dir/journey.yaml" --set teacher.train.lr=0.1 --set student.train.lr=-1
refused 2 "give one configuration file" "$limbeck" run
refused 2 "has no stages" "$limbeck" run "$dir/good.yaml" --set "run=$dir/stageless"
[ -e "$dir/stageless" ] && { echo "FAILED: a refused run leaves a folder"; bad=1; }
refused 2 "usage: limbeck COMMAND" "$limbeck"
refused 1 "not valid YAML" "$limbeck" train "$dir/broken.yaml"
refused 1 "not finite" $t --set train.lr=900 --set train.epochs=60 --set 'train.optimizer={name: sgd, momentum: 0.99}'
touch "$dir/file"
refused 1 "folder\|Not a directory" $t --set "run=$dir/file/run"
rm -rf "$dir/run"
refused 1 "no space left\|File too large" sh -c "ulimit -f 1; trap '' XFSZ; exec $limbeck train $dir/good.yaml --set model.hidden=[400]"
ls "$dir"/run/model/*.tmp >/dev/null 2>&1 && { echo "FAILED: a full disk leaves a temporary"; bad=1; }

rm -rf "$dir/run"
"$limbeck" train "$dir/good.yaml" >/dev/null 2>&1 || { echo "FAILED: the good configuration does not train"; bad=1; }
refused 2 "another configuration" "$limbeck" train "$dir/good.yaml" --set train.lr=0.06
refused 1 "other layers" "$limbeck" train "$dir/good.yaml" --set model.hidden=[9]
cp "$dir/run/model/checkpoint.h5" "$dir/keep"
head -c 2000 "$dir/keep" >"$dir/run/model/checkpoint.h5"
refused 1 "checkpoint.h5" "$limbeck" train "$dir/good.yaml"
exit $bad
