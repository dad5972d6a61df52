/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * Checks of the arguments of ops.
 * Floor F2 (backend): knows ops, never graphs.
 */

#ifndef LINVIDEO_BACKEND_CHECK_H
#define LINVIDEO_BACKEND_CHECK_H

#include "backend/ops.h"

/**
 * Check shapes, types and scalars of an op against its struct's comment.
 *
 * @param why set to a static text of what is wrong, NULL when all is right
 * @return 0 or -EINVAL
 */
int lv_op_check(int op, const LvOpArgs *a, const char **why);

#endif /* LINVIDEO_BACKEND_CHECK_H */
