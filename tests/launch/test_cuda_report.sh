#!/bin/sh
# launch/cuda-report: what CI says of CUDA, from a build folder with two tests of GPUs and one that is none.
src=$1
dir=$2/cuda-report
rm -rf "$dir" && mkdir -p "$dir" || exit 1
fail() { echo "FAILED: $*"; cat "$dir/out"; exit 1; }
# says CODE SENTENCE [--require-cuda]
says() {
    want=$1 sentence=$2; shift 2
    sh "$src/launch/cuda-report" "$dir" "$@" >"$dir/out" 2>&1
    [ $? -eq "$want" ] && grep -Fqx "$sentence" "$dir/out" || fail "not exit code $want and: $sentence"
}
cat >"$dir/CTestTestfile.cmake" <<'C'
add_test("core/one" true)
add_test("core/gpu_one" true)
set_tests_properties("core/gpu_one" PROPERTIES LABELS "gpu")
add_test("mpi/gpus_real" true)
set_tests_properties("mpi/gpus_real" PROPERTIES LABELS "gpus")
C
none="NOT compiled: no nvcc on the PATH, and CUDACXX names none"
echo "$none" >"$dir/cuda.txt"
says 0 "CUDA: $none: nothing of the GPU backend was built or tested"
says 1 "CUDA: $none: nothing of the GPU backend was built or tested" --require-cuda
grep -q "^--require-cuda: install" "$dir/out" || fail "nothing to do"

some="compiled for sm_80 sm_90 compute_90"
echo "$some" >"$dir/cuda.txt"
says 0 "CUDA: $some; its tests did not run" --require-cuda
# results SKIPPED...: as ctest writes them; the test that is none of a GPU is skipped, too
results() {
    echo '<testsuite name="x">'
    for test in core/one core/gpu_one mpi/gpus_real; do
        echo "	<testcase name=\"$test\" classname=\"$test\" time=\"0.1\" status=\"run\">"
        case " $* core/one " in *" $test "*)
            echo '		<skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>'
            [ $test = core/one ] && why="no Slurm" || why="no CUDA device: driver; look"
            echo "		<system-out>skipped: $why" ;;
        *) echo "		<system-out>100%: Checks: 7" ;;
        esac
        echo "</system-out></testcase>"
    done
    echo '</testsuite>'
}
results core/gpu_one mpi/gpus_real >"$dir/tests.xml"
says 0 "CUDA: $some; 2 of 2 gpu tests skipped: no CUDA device"
results mpi/gpus_real >"$dir/tests.xml"
says 0 "CUDA: $some; 1 of 2 gpu tests skipped: no CUDA device" --require-cuda
results >"$dir/tests.xml"
says 0 "CUDA: $some; 2 gpu tests ran, none was skipped"

sh "$src/launch/cuda-report" "$dir/nothing" >"$dir/out" 2>&1
[ $? -eq 2 ] && grep -q "^cuda-report: .*/nothing is no configured build folder" "$dir/out" || fail "no build folder"
if sh "$src/launch/check" --nonsense >"$dir/out" 2>&1; then fail "an option that nobody knows"; fi
grep -q "usage: launch/check \[--slow\] \[--require-cuda\]" "$dir/out" || fail "no usage"
echo "cuda-report: compiled or not, skipped or not"
