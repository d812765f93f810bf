"""wrong.py PROGRAM RUN: uses that a newcomer would make and that cannot work, five and more of each verb: the exit
status, one line on stderr, and in it what to do, or which file or value is meant."""
import os
import re
import struct
import subprocess
import sys
import tempfile

program, run = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
work = tempfile.TemporaryDirectory(prefix="mltfr-wrong.")  # removed at the end
os.chdir(work.name)

open("semicolon.csv", "w").write("a;b;c\n1;2;3\n")
open("my.yaml", "w").write("model: {dim: 16}\n")
open("many.txt", "w").writelines(f"user {i}\n" for i in range(1, 22))
open("empty.gguf", "w").close()
header = "{'descr': '<f4', 'fortran_order': False, 'shape': (40, 8), }".ljust(117) + "\n"
with open("table.npy", "wb") as f:
    f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(40 * 8 * 4))

# STATUS | what the line has to say | words after the program; R is the run's directory, S a finished run.
table = r"""
2 | needs a file to read, or --synthetic                          | data
1 | none.csv: No such file                                        | data none.csv
1 | no column 'user_id' .data.user_field.: set that key           | data semicolon.csv --out d.h5
1 | leave none of 150 users: lower them                           | data R/data.csv --set data.min_user=1000
2 | '--out' needs FILE                                            | data R/data.csv --out
2 | d.csv: interactions are written as HDF5: end the name in .h5  | data R/data.csv --out d.csv
1 | this is not a text file                                       | data table.npy
2 | tokens needs --out FILE                                       | tokens
2 | needs tokens.tables, a list of .name: NAME, path: FILE.       | tokens --out s.h5
2 | table.npy is not allowed: must be a list of                   | tokens --out s.h5 --set tokens.tables=table.npy
1 | none.gguf: No such file                                       | tokens --out s.h5 --set tokens.tables=[{name:\ a,path:\ none.gguf}]
1 | data.csv: byte 0: not a GGUF, safetensors or .npy file        | tokens --out s.h5 --set tokens.tables=[{name:\ a,path:\ R/data.csv}]
2 | unexpected argument 'table.npy' of tokens: try .* --help      | tokens table.npy --out s.h5
2 | unexpected argument 'my.yaml' of train: try .* --help         | train my.yaml
2 | give tokens.tables .or tokens.path., or .*model.experts: false | train --set data.path=R/data.csv
2 | unknown key 'epochs' .did you mean 'train.epochs'             | train --set epochs=3
2 | many is not allowed: must be a whole number from 0            | train --set train.epochs=many
2 | unexpected argument '0.1' of train: try                       | train --set train.lr 0.1
2 | 63 is not a multiple of model.heads = 2                       | train --set model.dim=63
1 | data.path: none.csv: No such file                             | train --set data.path=none.csv
1 | name one by --checkpoint FILE, or the run by --set run.dir    | evaluate
2 | unexpected argument 'S' of evaluate: try                      | evaluate S
1 | not a checkpoint: RUN/checkpoints/step-NNNNNNNN.h5 is needed  | evaluate --checkpoint R/planted.h5
1 | checkpoint: none.h5: No such file                             | evaluate --checkpoint none.h5
2 | train is not allowed: must be test.valid                      | evaluate --set run.dir=S --split=train
2 | ndcg is not allowed: must be some of coverage.popularity      | evaluate --set run.dir=S --metrics=ndcg
2 | for whom: --users all.FILE.ID,ID .*--sequences FILE           | recommend --set run.dir=S
2 | needs --out FILE.csv or --out FILE.jsonl                      | recommend --set run.dir=S --users all
2 | end it in one of csv.jsonl, or add --format                   | recommend --set run.dir=S --users all --out lists
1 | '999' is no user of the data, and no file                     | recommend --set run.dir=S --users 999 --out l.csv
2 | unknown option '--topk' .*did you mean '--top-k'              | recommend --set run.dir=S --users all --out l.csv --topk 5
1 | name one by --checkpoint FILE, or the run by --set run.dir    | recommend --users all --out l.csv
2 | needs --out FILE.h5, or --out DIRECTORY for .npy files        | export --set run.dir=S
2 | FILE.h5, a directory for .npy files, or add --format          | export --set run.dir=S --out v.csv
2 | vectors is not allowed: must be some of items.users.tokens    | export --set run.dir=S --out v --what=vectors
1 | name one by --checkpoint FILE, or the run by --set run.dir    | export --out v
1 | 'nobody' is no user of the data, and no file                  | export --set run.dir=S --out v.h5 --users nobody
2 | explain needs --users all.FILE.ID,ID                          | explain --set run.dir=S
1 | 'nobody' is no user of the data, and no file                  | explain --set run.dir=S --users nobody
1 | name one by --checkpoint FILE, or the run by --set run.dir    | explain --users all
2 | 0 is not allowed: must be a whole number from 1 on            | explain --set run.dir=S --users all --tokens=0
2 | explain of 21 users needs --out FILE.json: up to 20 are shown  | explain --set run.dir=S --users many.txt
2 | unknown option '--items' of explain                           | explain --set run.dir=S --items a
2 | inspect needs FILE                                            | inspect
1 | none.gguf: No such file                                       | inspect none.gguf
1 | 0 files .gguf, .safetensors or .npy; allowed: one             | inspect R
1 | empty.gguf: the file is empty                                 | inspect empty.gguf
2 | unknown option '--verfy' .*did you mean '--verify'            | inspect table.npy --verfy
2 | unexpected argument 'table.npy' of inspect: try               | inspect table.npy table.npy
1 | report needs the directory of a run                           | report
1 | report needs the directory of a run                           | report none
1 | report needs the directory of a run                           | report S/metrics.jsonl
1 | none/r.html.part: No such file                                | report S --out none/r.html
2 | unknown option '-o' of report .did you mean '--out'           | report S -o r.html
2 | unexpected argument '5' of bench: try                         | bench 5
2 | none.yaml: No such file                                       | bench --config none.yaml
2 | 0 is not allowed: must be a whole number from 1               | bench --set model.dim=0
2 | unknown option '--seconds' of bench                           | bench --seconds 5
1 | data.path: none.csv: No such file                             | bench --set data.path=none.csv
2 | replay needs IN.h5 OUT.h5                                     | replay
2 | replay needs IN.h5 OUT.h5                                     | replay in.h5
1 | replay: none.h5: No such file                                 | replay none.h5 out.h5
1 | data.csv: not an HDF5 file                                    | replay R/data.csv out.h5
1 | planted.h5: not a golden file, as tests/golden has them       | replay R/planted.h5 out.h5
"""
uses = {}
for line in table.strip().split("\n"):
    status, says, words = (part.strip() for part in line.split(" | "))
    words = [re.sub(r"^(.*=|.*: |)R(?=/|$)", lambda m: m[1] + run, word.replace("\\ ", " ").replace("\0", " "))
             for word in re.sub(r"\\ ", "\0", words).split()]
    words = [re.sub(r"^(.*=|)S(?=/|$)", lambda m: m[1] + run + "/run", word) for word in words]
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=60)
    lines = done.stderr.splitlines()
    assert done.returncode == int(status), (line, done)
    assert len(lines) == 1 and lines[0].startswith("mltfr_dist: error: "), (line, done.stderr)
    assert re.search(says.replace("'S'", f"'{re.escape(run)}/run'"), lines[0]), (line, lines[0])
    uses[words[0]] = uses.get(words[0], 0) + 1
verbs = "data tokens train evaluate recommend export explain inspect report bench replay".split()
assert set(uses) == set(verbs) and min(uses.values()) >= 5, uses
print(uses)
