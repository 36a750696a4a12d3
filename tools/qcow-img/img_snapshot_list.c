/* SPDX-License-Identifier: MIT */
/* img_snapshot_list.c - the snapshots of an image, as a table and in JSON */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "img_snapshot_list.h"
#include "tool_error.h"
#include "tool_size.h"
#include "tool_text.h"

#define NSEC_PER_SEC UINT64_C(1000000000)

static void free_list(struct qcowfmt_snapshot_list **list)
{
	qcowfmt_snapshot_list_free(*list);
}

#define AUTO_LIST QCF_CLEANUP(free_list)

static struct qcowfmt_snapshot get(const struct qcowfmt_snapshot_list *list,
                                   uint32_t index)
{
	struct qcowfmt_snapshot s = { .struct_size = sizeof(s) };

	/* The index is below the count. */
	(void)qcowfmt_snapshot_list_get(list, index, &s, NULL);
	return s;
}

/* -------------------------------------------------------------------- human */

static void format_date(const struct qcowfmt_snapshot *s, char *text,
                        size_t size)
{
	time_t seconds = s->date_sec;
	struct tm date;

	text[0] = '\0';
	if (localtime_r(&seconds, &date) != NULL)
		(void)strftime(text, size, "%Y-%m-%d %H:%M:%S", &date);
}

static void print_row(const struct qcowfmt_snapshot *s)
{
	QCF_AUTO_FREE char *id = qcf_plain_text(s->id);
	QCF_AUTO_FREE char *name = qcf_plain_text(s->name);
	uint64_t seconds = s->vm_clock_nsec / NSEC_PER_SEC;
	char size[QCF_SIZE_TEXT];
	char date[64];
	char clock[64];
	char icount[32] = "";

	format_date(s, date, sizeof(date));
	(void)snprintf(clock, sizeof(clock), "%02u:%02u:%02u.%03u",
	               (unsigned int)(seconds / 3600),
	               (unsigned int)(seconds / 60 % 60),
	               (unsigned int)(seconds % 60),
	               (unsigned int)(s->vm_clock_nsec / 1000000 % 1000));
	if (s->icount != UINT64_MAX)
		(void)snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
	printf("%-9s %-16s %8s%20s%13s%11s\n", id, name,
	       qcf_format_size(size, s->vm_state_size), date, clock, icount);
}

int qcf_print_snapshots(struct qcowfmt_image *image,
                        struct qcowfmt_error **error)
{
	AUTO_LIST struct qcowfmt_snapshot_list *list = NULL;
	int ret = qcowfmt_snapshot_list(image, 0, &list, error);

	if (ret < 0 || qcowfmt_snapshot_list_count(list) == 0)
		return ret;
	puts("Snapshot list:");
	printf("%-9s %-16s %8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE",
	       "VM CLOCK", "ICOUNT");
	for (uint32_t i = 0; i < qcowfmt_snapshot_list_count(list); i++) {
		struct qcowfmt_snapshot s = get(list, i);

		print_row(&s);
	}
	return 0;
}

/* --------------------------------------------------------------------- JSON */

/* The members stand in the order of QEMU's program. */
static void json_snapshot(struct qcf_json *json,
                          const struct qcowfmt_snapshot *s)
{
	qcf_json_begin_object(json, NULL);
	if (s->icount != UINT64_MAX)
		qcf_json_number(json, "icount", s->icount);
	qcf_json_number(json, "vm-clock-nsec", s->vm_clock_nsec % NSEC_PER_SEC);
	qcf_json_string(json, "name", s->name);
	qcf_json_number(json, "date-sec", s->date_sec);
	qcf_json_number(json, "date-nsec", s->date_nsec);
	qcf_json_number(json, "vm-clock-sec", s->vm_clock_nsec / NSEC_PER_SEC);
	qcf_json_string(json, "id", s->id);
	qcf_json_number(json, "vm-state-size", s->vm_state_size);
	qcf_json_end_object(json);
}

int qcf_json_snapshots(struct qcf_json *json, struct qcowfmt_image *image,
                       struct qcowfmt_error **error)
{
	AUTO_LIST struct qcowfmt_snapshot_list *list = NULL;
	int ret = qcowfmt_snapshot_list(image, 0, &list, error);

	if (ret < 0 || qcowfmt_snapshot_list_count(list) == 0)
		return ret;
	qcf_json_begin_array(json, "snapshots");
	for (uint32_t i = 0; i < qcowfmt_snapshot_list_count(list); i++) {
		struct qcowfmt_snapshot s = get(list, i);

		json_snapshot(json, &s);
	}
	qcf_json_end_array(json);
	return 0;
}
