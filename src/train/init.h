/* Where a training starts other than at random.  Private to the layer train. */
#ifndef MLTFR_INIT_H
#define MLTFR_INIT_H

#include "session.h"

/* item.init of the settings, then the parameters of a checkpoint (NULL: none).  Rows go by the ids
 * of items, experts by the names of LLMs; what has no counterpart stays as it was drawn.
 * @collective */
mltfr_status mltfr_init_apply(mltfr_session *s, const char *checkpoint);

#endif
