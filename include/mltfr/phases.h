/** @file mltfr/phases.h
 *  Where the time of training goes: the phases of a "time" line of metrics.jsonl, in the order of
 *  a step.  Layer: train. */
#ifndef MLTFR_PHASES_H
#define MLTFR_PHASES_H

#define MLTFR_PHASE_LIST(X)                                                                        \
    X(ITEMS, "items")       /* rows of E' fetched, E' renewed */                                   \
    X(BACKBONE, "backbone") /* forward */                                                          \
    X(GATHER, "gather")     /* h' of all rows to every rank */                                     \
    X(EXPERTS, "experts")   /* router, exchange, filters, mixture: forward */                      \
    X(LOSS, "loss")         /* softmax forward and backward */                                     \
    X(EXPERTS_BACK, "experts_back")                                                                \
    X(BACKBONE_BACK, "backbone_back") /* with the sums over ranks and the rows' way back */        \
    X(OPTIMISE, "optimise")           /* and what follows from new weights */                      \
    X(FISHER, "fisher")               /* statistics, consensus */                                  \
    X(POOLS, "pools")                 /* level A, tau, item mixtures */

#endif
