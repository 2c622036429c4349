"""mpijob_check.py SCHEMA JOB.yaml [RESOURCE=N ...]: whether an API server with the MPI operator would take a job.

Every field must be one of SCHEMA (mpijob_schema.txt) and of its type, as the server checks it; what the operator
refuses after that is refused here; and what only a running job would show: mounts without volumes, requests that are
not the limits, a launcher whose -n is not the number of slots. RESOURCE=N: each worker's limits must name it so.
"""
import re
import sys

import yaml

TEMPLATE = "spec.mpiReplicaSpecs.*.template"
KINDS = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list, "int-or-string": (int, str)}


def read_schema(path):
    objects = {}
    for line in open(path):
        if line.strip() and not line.startswith("#"):
            name, fields = line.rstrip("\n").split(": ")
            found = {}
            for field in fields.split():
                key, kind, required, values = re.fullmatch(r"([^=]+)=([a-z-]+)(!?)(?:\((.*)\))?", field).groups()
                found[key] = (kind, bool(required), values.split("|") if values else None)
            objects.setdefault("" if name == "." else name, {}).update(found)
    return objects


def short(path):
    return path.replace(TEMPLATE, "TEMPLATE")


def check(value, path, kind, schema):
    assert isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)), f"{path}: no {kind}"
    if kind == "array":
        for v in value:
            of = schema.get(short(path), {}).get("[]", ("object",))
            check(v, path + "[]", of[0], schema)
    elif kind == "object" and path != "metadata":
        known = schema.get(short(path))
        assert known is not None, f"{path}: beyond mpijob_schema.txt"
        for key, (_, required, _) in known.items():
            assert not required or key in value, f"{path}: no {key}"
        for key, v in value.items():
            of = known.get(key) or known.get("*")
            assert of, f"{path}: there is no field {key}"
            assert of[2] is None or v in of[2], f"{path}.{key}: {v} is none of {of[2]}"
            name = key if key in known else "*"
            check(v, f"{path}.{name}" if path else name, of[0], schema)


def check_operator(job):
    spec, name = job["spec"], job["metadata"]["name"]
    launcher, worker = spec["mpiReplicaSpecs"]["Launcher"], spec["mpiReplicaSpecs"]["Worker"]
    assert set(spec["mpiReplicaSpecs"]) == {"Launcher", "Worker"}
    host = f"{name}-worker-{worker['replicas'] - 1}"
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", host) and len(host) <= 63, f"{host}: no DNS label"
    assert launcher["replicas"] == 1 and worker["replicas"] >= 1 and spec["slotsPerWorker"] >= 0
    assert spec["runPolicy"]["cleanPodPolicy"] in ("None", "Running", "All")
    assert spec["runPolicy"]["backoffLimit"] >= 0
    for part in launcher, worker:
        assert part["restartPolicy"] in ("Never", "OnFailure")
        assert part["template"]["spec"]["containers"]


def check_sense(job, resources):
    spec = job["spec"]
    parts = spec["mpiReplicaSpecs"]
    for part in parts.values():
        pod = part["template"]["spec"]
        volumes = {v["name"] for v in pod["volumes"]}
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        for c in pod["containers"]:
            assert {m["name"] for m in c["volumeMounts"]} <= volumes, "a mount without its volume"
            assert c["resources"]["limits"] == c["resources"]["requests"], "requests are not the limits"
    container, = parts["Launcher"]["template"]["spec"]["containers"]
    ranks = parts["Worker"]["replicas"] * spec["slotsPerWorker"]
    line = container["args"][0]
    counts = [int(n) for n in re.findall(r"-n (\d+)", line)]
    assert counts == [ranks, ranks], f"-n {counts} on {ranks} slots"
    # ssh hands on no environment: what the ranks need of the launcher's, mpirun takes along
    for e in container.get("env", []):
        assert line.count(f"-x {e['name']} ") == 2, f"mpirun does not take {e['name']} along"
    limits = parts["Worker"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    for wanted in resources:
        key, n = wanted.split("=")
        assert limits.get(key) == int(n) == spec["slotsPerWorker"], f"{key}: {limits.get(key)}"


def main(schema, path, *resources):
    job = yaml.safe_load(open(path))
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    check(job, "", "object", read_schema(schema))
    check_operator(job)
    check_sense(job, resources)


main(*sys.argv[1:])
