/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_TREE_COMPARE_H
#define VARVE_TESTS_TREE_COMPARE_H

/* Two directory trees compared, attribute by attribute; a difference fails the test. */

#include <glib.h>

void tree_compare(int a, int b);

/* The names in a directory, sorted: GPtrArray of char*, which it frees. */
GPtrArray *tree_names(int dirfd);

#endif
