/* SPDX-License-Identifier: MIT */
/* img_snapshot_choice.c - the option -l: reading a snapshot like an image */
#include "img_snapshot_choice.h"

#include <errno.h>
#include <string.h>

#include "tool_error.h"

#define PREFIX "snapshot."

static bool is_known(const char *key)
{
	return strcmp(key, PREFIX "id") == 0 || strcmp(key, PREFIX "name") == 0;
}

bool qcf_snapshot_choice_parse(struct img_snapshot_choice *choice,
                               const char *text)
{
	bool valid;

	qcf_snapshot_choice_fini(choice);
	*choice = (struct img_snapshot_choice){ .is_set = true };
	if (strncmp(text, PREFIX, strlen(PREFIX)) != 0) {
		choice->any = text;
		return true;
	}
	if (qcf_keyval_is_valid(text))
		qcf_keyval_append(&choice->list, text);
	qcf_keyval_complete(&choice->list, 0);
	valid = choice->list.count > 0;
	for (size_t i = 0; valid && i < choice->list.count; i++) {
		valid = is_known(choice->list.items[i].key);
		if (!valid)
			qcf_tool_error("Invalid parameter '%s'",
			               choice->list.items[i].key);
	}
	if (!valid) {
		qcf_tool_error("Failed in parsing snapshot param '%s'", text);
		qcf_snapshot_choice_fini(choice);
		return false;
	}
	choice->id = qcf_keyval_find(&choice->list, PREFIX "id");
	choice->name = qcf_keyval_find(&choice->list, PREFIX "name");
	return true;
}

void qcf_snapshot_choice_fini(struct img_snapshot_choice *choice)
{
	qcf_keyval_fini(&choice->list);
	choice->is_set = false;
}

static int open_snapshot(const struct qcf_tool_open *request, const char *id,
                         const char *name, struct qcowfmt_image **image,
                         char **reason)
{
	struct qcf_tool_open open = *request;

	free(*reason);
	*reason = NULL;
	open.snapshot_id = id;
	open.snapshot_name = name;
	return qcf_tool_open(&open, image, reason);
}

bool qcf_snapshot_choice_open(const struct img_snapshot_choice *choice,
                              const struct qcf_tool_open *request,
                              struct qcowfmt_image **image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcowfmt_image *snapshot = NULL;
	QCF_AUTO_FREE char *reason = NULL;
	int ret;

	if (qcowfmt_get_info(*image, 0, &info, NULL) == 0 &&
	    info.format != QCOWFMT_FORMAT_QCOW2) {
		qcf_tool_error("Failed to load snapshot: Block format '%s' "
		               "used by device '' does not support temporarily "
		               "loading internal snapshots",
		               qcowfmt_format_name(info.format));
		return false;
	}
	ret = choice->any != NULL
	              ? open_snapshot(request, choice->any, NULL, &snapshot,
	                              &reason)
	              : open_snapshot(request, choice->id, choice->name,
	                              &snapshot, &reason);
	if (ret == -ENOENT && choice->any != NULL)
		ret = open_snapshot(request, NULL, choice->any, &snapshot,
		                    &reason);
	if (ret < 0) {
		qcf_tool_error("Failed to load snapshot: %s",
		               ret == -ENOENT ? "Can't find snapshot" : reason);
		return false;
	}
	(void)qcowfmt_close(*image, NULL);
	*image = snapshot;
	return true;
}
