# The page of `report` in a browser; the screenshots stay in the build directory, as report/*.png.
mltfr_script_test(NAME report.browser TIMEOUT 180 LABELS cli
  COMMAND ${CMAKE_CURRENT_LIST_DIR}/browser.sh $<TARGET_FILE:mltfr_dist>
  ${CMAKE_CURRENT_BINARY_DIR}/report)

# Runs, files and words that report cannot use.
set(small "train --set train.epochs=2 --set train.warmup_epochs=1 --set model.dim=16 --set filter.pool=64")
mltfr_cli_test(NAME report BEFORE "${small}" ARGS report STATUS 0 NP 0 3 OUTPUT "^./run/report.html\n$")
mltfr_cli_test(NAME report_unfinished BEFORE "${small} --set eval.every=0" ARGS report run
  --out=page.html STATUS 0 OUTPUT "^page.html\n$")
mltfr_cli_test(NAME report_absent ARGS report none STATUS 1 NP 0 3
  ERROR "none/metrics.jsonl: No such file.*: report needs the directory of a run")
mltfr_cli_test(NAME report_out BEFORE "${small}" ARGS report run --out=no/where.html STATUS 1 NP 0 2
  ERROR "no/where.html.part: No such file")
mltfr_cli_test(NAME report_file ARGS report c.yaml STATUS 1 CONFIG "nothing\n"
  ERROR "c.yaml/metrics.jsonl: Not a directory")
mltfr_cli_test(NAME report_many ARGS report a b c d e f g h i j k l m n o p q STATUS 2
  ERROR "unexpected argument 'q' of report")
