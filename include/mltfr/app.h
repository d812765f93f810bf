/** @file mltfr/app.h
 *  The program.  Layer: app. */
#ifndef MLTFR_APP_H
#define MLTFR_APP_H

/** Do what the command line says.  @collective{all processes}
 *  @return the exit status, the same on every rank */
int mltfr_app_run(int argc, char *argv[]);

#endif
