/* SPDX-License-Identifier: MIT */
/* tool_preallocation.c - names of preallocation modes */
#include "tool_preallocation.h"

#include <string.h>

#include "tool_util.h"

int qcf_find_preallocation(const char *name)
{
	static const char *const modes[] = {
		[QCOWFMT_PREALLOCATION_OFF] = "off",
		[QCOWFMT_PREALLOCATION_METADATA] = "metadata",
		[QCOWFMT_PREALLOCATION_FALLOC] = "falloc",
		[QCOWFMT_PREALLOCATION_FULL] = "full",
	};

	for (int i = 0; i < (int)QCF_ARRAY_LEN(modes); i++) {
		if (strcmp(name, modes[i]) == 0)
			return i;
	}
	return -1;
}
