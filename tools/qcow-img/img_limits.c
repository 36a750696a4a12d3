/* SPDX-License-Identifier: MIT */
/* img_limits.c - what requests on an image have to keep to */
#include "img_limits.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SECTOR_SIZE      512
#define SUBCLUSTER_COUNT 32

struct limit {
	const char *name; /* with dashes */
	uint64_t value;   /* 0: there is none */
};

#define LIMIT_COUNT 6

static void find_limits(const struct qcowfmt_info *info,
                        struct limit limits[LIMIT_COUNT])
{
	bool has_subclusters = (info->flags & QCOWFMT_INFO_EXTENDED_L2) != 0;
	bool is_encrypted = info->encryption != QCOWFMT_ENCRYPTION_NONE;
	uint64_t unit =
		info->format == QCOWFMT_FORMAT_QCOW2 ? info->cluster_size : 0;
	const struct limit found[LIMIT_COUNT] = {
		{ "request-alignment", is_encrypted ? SECTOR_SIZE : 1 },
		{ "discard-alignment", unit },
		{ "write-zeroes-alignment",
		  has_subclusters ? unit / SUBCLUSTER_COUNT : unit },
		{ "max-iov", IOV_MAX },
		{ "min-mem-alignment", 1 },
		{ "opt-mem-alignment", (uint64_t)sysconf(_SC_PAGESIZE) },
	};

	memcpy(limits, found, sizeof(found));
}

void qcf_print_limits(const struct qcowfmt_info *info)
{
	struct limit limits[LIMIT_COUNT];
	const char *letter;
	size_t i;

	find_limits(info, limits);
	puts("Block limits:");
	for (i = 0; i < LIMIT_COUNT; i++) {
		if (limits[i].value == 0)
			continue;
		printf("    ");
		for (letter = limits[i].name; *letter != '\0'; letter++)
			putchar(*letter == '-' ? ' ' : *letter);
		printf(": %" PRIu64 "\n", limits[i].value);
	}
}

void qcf_json_limits(struct qcf_json *json, const struct qcowfmt_info *info)
{
	struct limit limits[LIMIT_COUNT];
	size_t i;

	find_limits(info, limits);
	qcf_json_begin_object(json, "limits");
	for (i = 0; i < LIMIT_COUNT; i++) {
		if (limits[i].value != 0)
			qcf_json_number(json, limits[i].name, limits[i].value);
	}
	qcf_json_end_object(json);
}
