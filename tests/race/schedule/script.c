/* SPDX-License-Identifier: MIT */
/* script.c - what a thread does, in a few letters */
#include "script.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "order.h"

void qcf_script_parse(struct qcf_script *script, const char *text)
{
	script->count = 0;
	while (*text != '\0') {
		struct qcf_act *act = &script->acts[script->count];
		char *end;

		if (*text == ' ') {
			text++;
			continue;
		}
		if (script->count++ == QCF_MAX_ACTS)
			abort();
		*act = (struct qcf_act){ .kind = *text++ };
		act->first = strtoull(text, &end, 10);
		if (*end == '+')
			act->count = strtoull(end + 1, &end, 10);
		text = end;
	}
}

static uint64_t below(uint64_t *random, uint64_t limit)
{
	*random += UINT64_C(0x9e3779b97f4a7c15);
	return qcf_mix(*random, 5) % limit;
}

static struct qcf_act invent(const char *kinds, uint64_t cluster,
                             uint64_t sectors, uint64_t *random)
{
	struct qcf_act act = { .kind = kinds[below(random, strlen(kinds))] };
	bool whole = act.kind == 'c' || below(random, 3) > 0;
	uint64_t unit = whole ? cluster : 1;
	uint64_t room = sectors < 4 * cluster ? sectors : 4 * cluster;

	act.first = below(random, room / unit) * unit;
	act.count = (1 + below(random, whole ? 2 : cluster + 1)) * unit;
	if (act.kind == 'g') {
		act.first = sectors - below(random, 3) * cluster;
		act.count = 0;
	} else if (act.first + act.count > sectors) {
		act.count = sectors - act.first;
	}
	return act;
}

void qcf_script_invent(struct qcf_script *script, const char *kinds,
                       int max_acts, uint64_t cluster_sectors,
                       uint64_t disk_sectors, uint64_t *random)
{
	script->count = 1 + (int)below(random, (uint64_t)max_acts);
	for (int i = 0; i < script->count; i++)
		script->acts[i] =
			invent(kinds, cluster_sectors, disk_sectors, random);
}

void qcf_script_print(const struct qcf_script *script, char *text, int size)
{
	int used = 0;

	text[0] = '\0';
	for (int i = 0; i < script->count && used < size; i++)
		used += snprintf(text + used, (size_t)(size - used),
		                 "%s%c%" PRIu64 "+%" PRIu64, i > 0 ? " " : "",
		                 script->acts[i].kind, script->acts[i].first,
		                 script->acts[i].count);
}
