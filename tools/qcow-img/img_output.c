/* SPDX-License-Identifier: MIT */
/* img_output.c - the --output option that several commands have */
#include "img_output.h"

#include <string.h>

#include "tool_error.h"

bool qcf_parse_output(const char *name, bool *json)
{
	*json = strcmp(name, "json") == 0;
	if (*json || strcmp(name, "human") == 0)
		return true;
	qcf_tool_error("--output must be used with human or json as argument.");
	return false;
}
