# The verbs that answer from a checkpoint, on one small run of the planted example: the same bytes
# without a launcher, on one and on three ranks, and the answers that NumPy gets from exported
# vectors.
#   mltfr_same_test(<name> <word>...)      tests/verbs/same.sh

#   mltfr_run(<name> <fixture> <directory> <word>...)    tests/verbs/train.sh, with these settings
function(mltfr_run topic fixture directory)
  mltfr_script_test(NAME verbs.${topic} LABELS verbs TIMEOUT 120 COMMAND
    ${PROJECT_SOURCE_DIR}/tests/verbs/train.sh $<TARGET_FILE:mltfr_dist> ${directory} ${ARGN})
  set_tests_properties(verbs.${topic} PROPERTIES FIXTURES_SETUP ${fixture})
endfunction()

set(run_directory ${MLTFR_VERBS_RUN})
set(run_fixture verbs_run)
mltfr_run(train ${run_fixture} ${run_directory})

function(mltfr_same_test topic)
  set(name verbs.same_${topic})
  mltfr_script_test(NAME ${name} LABELS verbs COMMAND
    ${PROJECT_SOURCE_DIR}/tests/verbs/same.sh $<TARGET_FILE:mltfr_dist> ${run_directory}
    ${MLTFR_MPIEXEC} -- ${ARGN})
  set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED ${run_fixture} PROCESSORS 2)
endfunction()

set(verbs_run --set run.dir=@RUN@/run)
mltfr_same_test(recommend recommend ${verbs_run} --users all --top-k 7 --out @OUT@/lists.csv)
mltfr_same_test(recommend_sequences recommend ${verbs_run} --sequences @RUN@/sequences.txt
  --items @RUN@/items.txt --top-k 300 --set eval.exclude_seen=false --out @OUT@/lists.jsonl)

mltfr_same_test(export export ${verbs_run} --out @OUT@/vectors.h5)
mltfr_same_test(export_npy export ${verbs_run} --users @RUN@/users.txt --out @OUT@/vectors)
mltfr_same_test(explain explain ${verbs_run} --users @RUN@/users.txt --out @OUT@/each.json)
mltfr_same_test(explain_all explain ${verbs_run} --users all --tokens 50 --out @OUT@/all.json)
mltfr_same_test(evaluate evaluate ${verbs_run} --split valid --metrics coverage,popularity,length
  --per-user @OUT@/users.csv --out @OUT@/metrics.json)
mltfr_same_test(data data @RUN@/data.csv --out @OUT@/data.h5 --set data.min_user=3 --set data.min_item=9
  --set data.split=time --set data.ties=shuffled)

# The other backbones, in the same questions.
foreach(backbone bsarec gru4rec)
  set(run_directory ${MLTFR_VERBS_RUN}_${backbone})
  set(run_fixture verbs_${backbone})
  mltfr_run(train_${backbone} ${run_fixture} ${run_directory} --set model.backbone=${backbone})
  mltfr_same_test(${backbone}_recommend recommend ${verbs_run} --users all --top-k 7 --out @OUT@/lists.csv)
  mltfr_same_test(${backbone}_explain explain ${verbs_run} --users all --out @OUT@/all.json)
  mltfr_same_test(${backbone}_evaluate evaluate ${verbs_run} --split valid --out @OUT@/metrics.json)
  if(MLTFR_H5PY)
    mltfr_script_test(NAME verbs.${backbone}_check LABELS verbs COMMAND ${MLTFR_H5PY}
      ${PROJECT_SOURCE_DIR}/tests/verbs/check.py $<TARGET_FILE:mltfr_dist> ${run_directory})
    mltfr_script_test(NAME verbs.${backbone}_init LABELS verbs COMMAND ${MLTFR_H5PY}
      ${PROJECT_SOURCE_DIR}/tests/verbs/init.py $<TARGET_FILE:mltfr_dist> ${run_directory} ${MLTFR_MPIEXEC})
    set_tests_properties(verbs.${backbone}_check verbs.${backbone}_init PROPERTIES
      FIXTURES_REQUIRED ${run_fixture})
  endif()
endforeach()

if(MLTFR_H5PY)
  mltfr_script_test(NAME verbs.check LABELS verbs COMMAND ${MLTFR_H5PY}
    ${PROJECT_SOURCE_DIR}/tests/verbs/check.py $<TARGET_FILE:mltfr_dist> ${MLTFR_VERBS_RUN})
  mltfr_script_test(NAME verbs.pandas LABELS verbs COMMAND ${MLTFR_H5PY}
    ${PROJECT_SOURCE_DIR}/tests/verbs/pandas_reads.py $<TARGET_FILE:mltfr_dist> ${MLTFR_VERBS_RUN})
  mltfr_script_test(NAME verbs.wrong LABELS verbs COMMAND ${MLTFR_H5PY}
    ${PROJECT_SOURCE_DIR}/tests/verbs/wrong.py $<TARGET_FILE:mltfr_dist> ${MLTFR_VERBS_RUN})
  set_tests_properties(verbs.check verbs.pandas verbs.wrong PROPERTIES FIXTURES_REQUIRED verbs_run)
  mltfr_script_test(NAME verbs.damaged LABELS verbs COMMAND ${MLTFR_H5PY}
    ${PROJECT_SOURCE_DIR}/tests/verbs/damaged.py $<TARGET_FILE:mltfr_dist> ${MLTFR_VERBS_RUN})
  set_tests_properties(verbs.damaged PROPERTIES FIXTURES_REQUIRED verbs_run)
  mltfr_script_test(NAME verbs.init LABELS verbs COMMAND ${MLTFR_H5PY}
    ${PROJECT_SOURCE_DIR}/tests/verbs/init.py $<TARGET_FILE:mltfr_dist> ${MLTFR_VERBS_RUN}
    ${MLTFR_MPIEXEC})
  set_tests_properties(verbs.init PROPERTIES FIXTURES_REQUIRED verbs_run)
  mltfr_script_test(NAME verbs.init_llms LABELS verbs COMMAND ${MLTFR_H5PY}
    ${PROJECT_SOURCE_DIR}/tests/verbs/init_llms.py $<TARGET_FILE:mltfr_dist> ${MLTFR_MPIEXEC})
  set_tests_properties(verbs.init_llms PROPERTIES PROCESSORS 2)
  mltfr_script_test(NAME verbs.data LABELS verbs COMMAND ${MLTFR_H5PY}
    ${PROJECT_SOURCE_DIR}/tests/verbs/data.py $<TARGET_FILE:mltfr_dist>)
endif()

# Wrong uses: one line that says what to do.
#   mltfr_wrong_test(<name> <status> <regex> <word>...)      on the same run
function(mltfr_wrong_test topic status regex)
  string(REPLACE @RUN@ ${MLTFR_VERBS_RUN} words "${ARGN}")
  mltfr_cli_test(NAME ${topic} ARGS ${words} STATUS ${status} NP 0 3 ERROR "${regex}")
  set_tests_properties(cli.${topic} cli.${topic}.np3 PROPERTIES FIXTURES_REQUIRED verbs_run)
endfunction()

mltfr_cli_test(NAME recommend_nobody ARGS recommend --out l.csv STATUS 2 NP 0 3
  ERROR "needs to know for whom: --users all.FILE.ID,ID .*--sequences FILE")
mltfr_cli_test(NAME recommend_both ARGS recommend --users all --sequences s --out l.csv STATUS 2 ERROR "one of the two")
mltfr_cli_test(NAME recommend_out ARGS recommend --users all STATUS 2 ERROR "needs --out FILE.csv or --out FILE.jsonl")
mltfr_cli_test(NAME recommend_form ARGS recommend --users all --out lists STATUS 2
  ERROR "the form of lists cannot be told .*csv.jsonl, or add --format")
mltfr_cli_test(NAME recommend_top ARGS recommend --users all --out l.csv --top-k=ten STATUS 2
  ERROR "--top-k: ten is not allowed: must be a whole number from 1 to 10000")
mltfr_cli_test(NAME recommend_no_run ARGS recommend --users all --out l.csv STATUS 1 ERROR "run/checkpoints: ")
mltfr_wrong_test(recommend_user 1 "'user 999' is no user of the data, and no file .1 of 2 ids"
  recommend ${verbs_run} --users "user 1,user 999" --out l.csv)
mltfr_wrong_test(recommend_sequences_absent 1 "--sequences: none.txt: No such file"
  recommend ${verbs_run} --sequences none.txt --out l.csv)
mltfr_wrong_test(recommend_items 1 "users.txt: none of its 3 items is in the data"
  recommend ${verbs_run} --users all --items @RUN@/users.txt --out l.csv)
mltfr_wrong_test(recommend_write 1 "none/l.csv.part: No such file"
  recommend ${verbs_run} --users all --out none/l.csv)

mltfr_cli_test(NAME export_out ARGS export STATUS 2 ERROR "needs --out FILE.h5, or --out DIRECTORY for .npy files")
mltfr_cli_test(NAME export_form ARGS export --out v.csv STATUS 2 ERROR "the form of v.csv cannot be told .*add --format")
mltfr_cli_test(NAME export_what ARGS export --out v --what=item STATUS 2
  ERROR "--what: item is not allowed: must be some of items.users.tokens, with commas")
mltfr_cli_test(NAME export_no_run ARGS export --out v STATUS 1 ERROR "run/checkpoints: ")
mltfr_wrong_test(export_user 1 "--users: 'nobody' is no user of the data" export ${verbs_run} --users nobody --out v.h5)
mltfr_wrong_test(export_write 1 "none/v.h5.part" export ${verbs_run} --out none/v.h5)

mltfr_cli_test(NAME explain_users ARGS explain STATUS 2 ERROR "explain needs --users all.FILE.ID,ID")
mltfr_cli_test(NAME explain_tokens ARGS explain --users all --tokens=0 STATUS 2
  ERROR "--tokens: 0 is not allowed: must be a whole number from 1 on")
mltfr_cli_test(NAME explain_no_run ARGS explain --users all STATUS 1 ERROR "run/checkpoints: ")
mltfr_cli_test(NAME explain_plain STATUS 1 NP 0 3 ARGS explain --users all
  BEFORE "train --set train.epochs=1 --set train.max_steps=1 --set model.dim=16 --set filter.pool=64"
  ERROR "no expert has started in this checkpoint .step 1.: .*beyond train.warmup_epochs")
mltfr_wrong_test(explain_user 1 "--users: 'nobody' is no user of the data" explain ${verbs_run} --users nobody)

mltfr_cli_test(NAME evaluate_metrics ARGS evaluate --metrics=coverage,ndcg STATUS 2 NP 0 3
  ERROR "--metrics: ndcg is not allowed: must be some of coverage.popularity.length")
mltfr_cli_test(NAME evaluate_split ARGS evaluate --split=train STATUS 2 ERROR "--split: train is not allowed: must be test.valid")
mltfr_wrong_test(evaluate_write 1 "none/u.csv.part: No such file"
  evaluate ${verbs_run} --out m.json --per-user none/u.csv)
mltfr_wrong_test(evaluate_data 1 "written with other interactions or token spaces"
  evaluate ${verbs_run} --set data.path=@RUN@/planted.h5)

mltfr_wrong_test(data_column 1 "the header has no column 'item'" data @RUN@/data.csv --set data.item_field=item)
mltfr_wrong_test(data_core 1 "data.min_user = 1000 and data.min_item = 1 leave none of 150 users"
  data @RUN@/data.csv --set data.min_user=1000)
mltfr_wrong_test(data_directory 1 "Is a directory" data @RUN@)
mltfr_cli_test(NAME data_split ARGS data d.csv --set data.split=random STATUS 2 DATA "user_id,item_id\na,b\n"
  ERROR "data.split: random is not allowed: must be one of leave-one-out, time")

mltfr_cli_test(NAME train_init_absent ARGS train --init none.h5 STATUS 1 NP 0 3 ERROR "--init: none.h5: No such file")
mltfr_cli_test(NAME train_item_init_absent ARGS train --set item.init=none.npy STATUS 1
  ERROR "item.init: none.npy: No such file")

mltfr_script_test(NAME verbs.moved TIMEOUT 120 LABELS cli
  COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/moved.sh $<TARGET_FILE:mltfr_dist>
  ${CMAKE_CURRENT_BINARY_DIR}/verbs_moved ${PROJECT_SOURCE_DIR}/data/make_example.py)
