/* SPDX-License-Identifier: MIT */
/* planted_l2_table.c - a fault to be found: every L2 entry is taken for good */
#include "l2_entry.h"

uint32_t __wrap_qcf_mapping_check(const struct qcf_geometry *g,
                                  struct qcf_l2_raw raw);

uint32_t __wrap_qcf_mapping_check(const struct qcf_geometry *g,
                                  struct qcf_l2_raw raw)
{
	(void)g;
	(void)raw;
	return 0;
}
