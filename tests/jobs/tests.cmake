# The job scripts, in a Slurm that is started for these tests and ended after them.
string(MD5 jobs_slurm ${PROJECT_BINARY_DIR})
string(SUBSTRING ${jobs_slurm} 0 8 jobs_slurm)
set(jobs_slurm /tmp/mltfr-slurm-${jobs_slurm}) # short: there is a socket in it
set(jobs_scripts ${PROJECT_SOURCE_DIR}/tests/jobs)

foreach(action start stop)
  mltfr_script_test(NAME jobs.slurm_${action} LABELS jobs TIMEOUT 120
    COMMAND bash ${jobs_scripts}/slurm.sh ${action} ${jobs_slurm})
endforeach()
set_tests_properties(jobs.slurm_start PROPERTIES FIXTURES_SETUP slurm)
set_tests_properties(jobs.slurm_stop PROPERTIES FIXTURES_CLEANUP slurm)

#   mltfr_job_test(<name> SCRIPT <script> [ARGS <word>...])
function(mltfr_job_test name)
  cmake_parse_arguments(PARSE_ARGV 1 T "" "SCRIPT" "ARGS")
  mltfr_script_test(NAME jobs.${name} LABELS jobs TIMEOUT 300
    COMMAND bash ${jobs_scripts}/${T_SCRIPT}.sh $<TARGET_FILE:mltfr_dist> ${jobs_slurm} ${T_ARGS})
  set_tests_properties(jobs.${name} PROPERTIES FIXTURES_REQUIRED slurm)
endfunction()

mltfr_job_test(requeue.mpirun SCRIPT requeue ARGS "mpirun -q -np 2")
mltfr_job_test(requeue.srun SCRIPT requeue ARGS "srun --mpi=pmix")
foreach(topic chain sweep clock cancel study_array)
  mltfr_job_test(${topic} SCRIPT ${topic})
endforeach()
mltfr_script_test(NAME jobs.pbs LABELS jobs
  COMMAND bash ${jobs_scripts}/pbs.sh $<TARGET_FILE:mltfr_dist>)
mltfr_script_test(NAME jobs.study LABELS jobs
  COMMAND bash ${jobs_scripts}/study.sh $<TARGET_FILE:mltfr_dist>)
set_tests_properties(jobs.study PROPERTIES PROCESSORS 2)
if(MLTFR_H5PY)
  mltfr_script_test(NAME jobs.study_table LABELS jobs
    COMMAND ${MLTFR_H5PY} ${jobs_scripts}/study_table.py)
endif()
