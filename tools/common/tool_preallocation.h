/* SPDX-License-Identifier: MIT */
/* tool_preallocation.h - names of preallocation modes */
#ifndef QCF_TOOL_PREALLOCATION_H
#define QCF_TOOL_PREALLOCATION_H

/* An enum qcowfmt_preallocation, -1 for another text. */
int qcf_find_preallocation(const char *name);

#endif
