/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_TREE_MUTATE_H
#define VARVE_TESTS_TREE_MUTATE_H

/* Random changes to a small directory tree, of every kind that a file system allows. */

#include <glib.h>

/* Does so many of them beneath root; some come to nothing. The same numbers and the same tree give
 * the same changes, but for times. */
void tree_mutate(int root, GRand *numbers, guint changes);

#endif
