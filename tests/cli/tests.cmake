# Black-box tests of the command line, each by tests/cli/expect.cmake.
#   mltfr_cli_test(NAME <topic> ARGS <word>... STATUS <s> [ERROR <regex>] [OUTPUT <regex>]
#                  [ABSENT <regex>] [CONFIG <yaml>] [DATA <csv>] [BEFORE <words>] [NP <n>...] [TIMEOUT <s>])
# NP 0, the default, is a run without a launcher.
mltfr_unit_test(NAME app.config SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/app_config.c LIBS mltfr_app)
mltfr_unit_test(NAME base.text SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/base_text.c LIBS mltfr_base)
mltfr_unit_test(NAME base.progress SOURCE ${PROJECT_SOURCE_DIR}/tests/unit/base_progress.c LIBS mltfr_base)

function(mltfr_cli_test)
  set(values STATUS ERROR OUTPUT ABSENT CONFIG DATA BEFORE)
  cmake_parse_arguments(PARSE_ARGV 0 T "" "NAME;TIMEOUT;${values}" "ARGS;NP")
  if(NOT DEFINED T_NP)
    set(T_NP 0)
  endif()
  set(defines -DPROGRAM=$<TARGET_FILE:mltfr_dist>)
  foreach(value IN LISTS values)
    if(DEFINED T_${value})
      list(APPEND defines "-D${value}=${T_${value}}")
    endif()
  endforeach()
  foreach(np IN LISTS T_NP)
    set(name cli.${T_NAME})
    set(launch)
    if(np)
      set(name ${name}.np${np})
      set(launch ${MLTFR_MPIEXEC} ${np})
    endif()
    mltfr_script_test(NAME ${name} TIMEOUT "${T_TIMEOUT}" LABELS cli
      COMMAND ${CMAKE_COMMAND} ${defines} -DDIRECTORY=${CMAKE_CURRENT_BINARY_DIR}/cli/${name}
      -P ${PROJECT_SOURCE_DIR}/tests/cli/expect.cmake -- ${launch} $<TARGET_FILE:mltfr_dist>
      ${T_ARGS})
  endforeach()
endfunction()

# Information, without a launcher and once for all ranks.
mltfr_cli_test(NAME help ARGS --help STATUS 0 NP 0 2
  OUTPUT "^Usage: mltfr_dist .*\n  train .*\n  replay .*--set=" ABSENT "Verbs:.*Verbs:")
mltfr_cli_test(NAME help_verb ARGS data --help STATUS 0 OUTPUT "mltfr_dist data .*--synthetic.*data.max_len"
  ABSENT "train.lr")
mltfr_cli_test(NAME help_train ARGS train --help STATUS 0 OUTPUT "--resume.*train.lr.*run.log_every")
mltfr_cli_test(NAME version ARGS --version STATUS 0 NP 0 3
  OUTPUT "^mltfr_dist [0-9.]+\nMPI: .*\nHDF5: [0-9.]+\nBLAS: .*\nScaLAPACK: .*\nBLAS kernel: [A-Za-z0-9]+\n$")

# Usage: status 2 and one line.
mltfr_cli_test(NAME verb ARGS trian STATUS 2 NP 0 1 3 ERROR "unknown verb 'trian' .did you mean 'train'")
mltfr_cli_test(NAME option ARGS tokens --ouput=x STATUS 2 NP 0 3
  ERROR "unknown option '--ouput' of tokens .did you mean '--out'")
mltfr_cli_test(NAME option_short ARGS -x STATUS 2 ERROR "unknown option '-x'")
mltfr_cli_test(NAME option_cluster ARGS -np 4 STATUS 2 ERROR "unknown option '-n'")
mltfr_cli_test(NAME option_needs ARGS train --config STATUS 2 ERROR "'--config' needs FILE")
mltfr_cli_test(NAME option_flag ARGS train --quiet=1 STATUS 2 ERROR "'--quiet' takes no value")
mltfr_cli_test(NAME option_word ARGS train --progress=dots STATUS 2 ERROR "dots is not allowed: must be auto.bar.lines.none")
mltfr_cli_test(NAME verb_late ARGS --quiet evaluate STATUS 2 ERROR "'evaluate' goes before the options")
mltfr_cli_test(NAME operand ARGS train x STATUS 2 ERROR "unexpected argument 'x' of train")
mltfr_cli_test(NAME operand_missing ARGS inspect STATUS 2 ERROR "inspect needs FILE")
mltfr_cli_test(NAME control_characters ARGS "a\nmltfr_dist: error: b" STATUS 2 ERROR "a.mltfr_dist")

# Configuration: the place, the value and what is allowed.
mltfr_cli_test(NAME config_absent ARGS train --config none.yaml STATUS 2 NP 0 3 ERROR "none.yaml: No such file")
mltfr_cli_test(NAME config_directory ARGS train --config . STATUS 2 ERROR "\\.: Is a directory")
mltfr_cli_test(NAME config_key ARGS train --config c.yaml STATUS 2 NP 0 3 CONFIG "train:\n  bacth: 3\n"
  ERROR "c.yaml:2: unknown key 'train.bacth' .did you mean 'train.batch'")
mltfr_cli_test(NAME config_range ARGS --config c.yaml STATUS 2 CONFIG "model:\n  dim: 64\n  dropout: 2\n"
  ERROR "c.yaml:3: model.dropout: 2 is not allowed: must be a number from 0 to 0.95")
mltfr_cli_test(NAME config_twice ARGS --config c.yaml STATUS 2 CONFIG "train: {lr: 1}\ntrain: {lr: 1}\n"
  ERROR "c.yaml:2: train.lr was given before, in line 1")
mltfr_cli_test(NAME config_yaml ARGS --config c.yaml STATUS 2 CONFIG "train: {lr: 1\n" ERROR "c.yaml:2: not YAML")
mltfr_cli_test(NAME set_key ARGS train --set trian.lr=1 STATUS 2 NP 0 3 ERROR "unknown key 'trian.lr' .did you mean 'train.lr'")
mltfr_cli_test(NAME set_range ARGS train --set model.heads=0 STATUS 2 ERROR "model.heads: 0 is not allowed: must be a whole number from 1 to 64")
mltfr_cli_test(NAME set_wins ARGS data --config c.yaml --set data.path=other STATUS 1 CONFIG "data: {path: one}\n"
  ERROR "other: No such file")
mltfr_cli_test(NAME set_pair ARGS train --set model.heads=5 STATUS 2 ERROR "model.dim = 64 is not a multiple of model.heads = 5")
mltfr_cli_test(NAME set_blocks ARGS train --set model.blocks=17 STATUS 2 ERROR "model.blocks: 17 is not allowed: must be a whole number from 0 to 16")
mltfr_cli_test(NAME set_backbone ARGS train --set model.backbone=gru STATUS 2 ERROR "must be one of sasrec, bsarec, gru4rec")
mltfr_cli_test(NAME set_pre_norm ARGS train --set model.backbone=bsarec --set model.norm=pre STATUS 2 NP 0 3
  ERROR "model.norm: pre is for model.backbone: sasrec")
mltfr_cli_test(NAME set_no_heads ARGS train --dry-run --set model.backbone=gru4rec --set model.dim=15 --set filter.pool=64 STATUS 0
  OUTPUT "memory   at most ")

# data and inspect.
mltfr_cli_test(NAME data_absent ARGS data none.inter --out d.h5 STATUS 1 NP 0 3 ERROR "none.inter: No such file")
mltfr_cli_test(NAME data_nothing ARGS data STATUS 2 ERROR "data needs a file to read, or --synthetic")
mltfr_cli_test(NAME data_synthetic ARGS data --synthetic --out d.h5 STATUS 0 NP 0 3 OUTPUT "users=600 items=200 ")
mltfr_cli_test(NAME data_synthetic_size ARGS data --synthetic --users 30 --items 5000 --out d.h5 STATUS 0 NP 0 2
  OUTPUT "users=30 items=5000 ")
mltfr_cli_test(NAME data_synthetic_few ARGS data --synthetic --items 3 --out d.h5 STATUS 2 NP 0 2
  ERROR "synthetic items is 3, 30 to 10000000 are allowed")
mltfr_cli_test(NAME data_synthetic_number ARGS data --synthetic --items 3k --out d.h5 STATUS 2
  ERROR "--items: 3k is not a whole number")
mltfr_cli_test(NAME data_items_alone ARGS data d.h5 --items 300 STATUS 2 ERROR "--items are for --synthetic")
mltfr_cli_test(NAME data_synthetic_out ARGS data --synthetic STATUS 2 ERROR "needs --out FILE")
mltfr_cli_test(NAME data_convert BEFORE "data --synthetic --out d.h5" ARGS data d.h5 --out e.h5 STATUS 0 NP 0 2
  OUTPUT "users=600 items=200 ")
mltfr_cli_test(NAME inspect_data BEFORE "data --synthetic --out d.h5" ARGS inspect d.h5 STATUS 0 NP 0 2
  OUTPUT "interactions: users=600.*token spaces: 2 of 16 shared and 16 specific.*arrays: ")
mltfr_cli_test(NAME inspect_absent ARGS inspect none.h5 STATUS 1 NP 0 2 ERROR "none.h5: No such file")
mltfr_cli_test(NAME inspect_other ARGS inspect c.yaml STATUS 1 CONFIG "nothing\n" NP 0 2 ERROR "c.yaml")

mltfr_cli_test(NAME inspect_text ARGS inspect d.csv STATUS 0 NP 0 2
  DATA "user_id,item_id,timestamp\na,x,1\na,y,2\nb,x,3\n" OUTPUT "users=2 items=2 interactions=3")
mltfr_cli_test(NAME data_text ARGS data d.csv --out d.h5 STATUS 0 NP 0 3
  DATA "user_id,item_id,timestamp\na,x,1\na,y,2\nb,x,3\n" OUTPUT "users=2 items=2 interactions=3")

# train, tokens, evaluate, replay: what is found wrong before the work starts.
mltfr_cli_test(NAME train_data_absent ARGS train --set data.path=none.inter STATUS 1 NP 0 3
  ERROR "data.path: none.inter: No such file")
mltfr_cli_test(NAME train_no_spaces ARGS train --set data.path=c.yaml STATUS 2 CONFIG "1 2 3\n" NP 0 2
  ERROR "no token spaces for c.yaml: give tokens.tables .*model.experts: false")
mltfr_cli_test(NAME train_tables_absent ARGS train --config c.yaml STATUS 1 NP 0 2
  CONFIG "tokens: {tables: [{name: a, path: none.gguf}]}\n" ERROR "none.gguf: No such file")
mltfr_cli_test(NAME tokens_out ARGS tokens STATUS 2 ERROR "tokens needs --out FILE")
mltfr_cli_test(NAME tokens_none ARGS tokens --out t.h5 STATUS 2 ERROR "tokens needs tokens.tables")
mltfr_cli_test(NAME tokens_absent ARGS tokens --out t.h5 "--set=tokens.tables=[{name: a, path: none.gguf}]"
  STATUS 1 NP 0 3 ERROR "none.gguf: No such file")
mltfr_cli_test(NAME evaluate_absent ARGS evaluate --checkpoint none.h5 STATUS 1 NP 0 2 ERROR "none.h5: No such file")
mltfr_cli_test(NAME evaluate_no_run ARGS evaluate --set run.dir=none STATUS 1 ERROR "none")
mltfr_cli_test(NAME evaluate_other BEFORE "data --synthetic --out d.h5" ARGS evaluate --checkpoint d.h5 STATUS 1 NP 0 2
  ERROR "d.h5: ")
mltfr_cli_test(NAME replay_absent ARGS replay none.h5 o.h5 STATUS 1 NP 0 2 ERROR "none.h5: No such file")

# Whole runs of the built-in example, small enough to take a second.
set(small "--set train.epochs=2 --set train.warmup_epochs=1 --set model.dim=16 --set filter.pool=64")
separate_arguments(words UNIX_COMMAND "${small}")
set(line "ndcg@10=0\\.[0-9]+ hr@10=0\\.[0-9]+ users=600\n$")
mltfr_cli_test(NAME train ARGS train ${words} STATUS 0 NP 0 3
  OUTPUT "trains the built-in synthetic example .*\ntest  ${line}")
mltfr_cli_test(NAME train_quiet ARGS ${words} --quiet STATUS 0 OUTPUT "^test  ${line}")
mltfr_cli_test(NAME train_stop ARGS train ${words} --set run.stop_after=2 STATUS 75 NP 0 3 OUTPUT "step 2")
mltfr_cli_test(NAME train_finite ARGS train ${words} --set train.lr=10 --set train.weight_decay=10
  --set train.epochs=20 --set checkpoint.every=1 STATUS 1 NP 0 3
  ERROR "step [0-9]+, rank [0-9]: .* is not finite")
mltfr_cli_test(NAME train_ended BEFORE "train ${small}" ARGS train ${words} STATUS 0 NP 0 2
  OUTPUT "ended.*\ntest  ${line}")
mltfr_cli_test(NAME train_again BEFORE "train ${small}" ARGS train ${words} --resume=no STATUS 0
  OUTPUT "epoch.*\ntest  ${line}" ABSENT "ended")
mltfr_cli_test(NAME evaluate BEFORE "train ${small}" ARGS evaluate --set run.dir=run STATUS 0 NP 0 2
  OUTPUT "\ntest  ${line}")
mltfr_cli_test(NAME evaluate_valid BEFORE "train ${small}" ARGS evaluate --split=valid STATUS 0
  OUTPUT "\nvalid  ${line}")

# The manual pages in docs/man are those of the tables.
foreach(page mltfr_dist.1 mltfr_config.5)
  string(REGEX MATCH "[15]$" section ${page})
  mltfr_script_test(NAME cli.man${section} LABELS cli
    COMMAND ${CMAKE_COMMAND} -DFILE=${PROJECT_SOURCE_DIR}/docs/man/${page}
    -P ${PROJECT_SOURCE_DIR}/tests/cli/same.cmake -- $<TARGET_FILE:mltfr_dist> --man ${section})
endforeach()
