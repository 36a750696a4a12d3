/* SPDX-License-Identifier: MIT */
/* img_snapshot_choice.h - the option -l: reading a snapshot like an image */
#ifndef QCF_IMG_SNAPSHOT_CHOICE_H
#define QCF_IMG_SNAPSHOT_CHOICE_H

#include "tool_keyval.h"
#include "tool_open.h"

struct img_snapshot_choice {
	bool is_set;
	const char *any; /* an id or, if there is no such id, a name */
	const char *id;  /* with any == NULL: both have to fit; NULL: any */
	const char *name;
	struct qcf_keyval_list list; /* where id and name are kept */
};

/* NAME, or snapshot.id=ID,snapshot.name=NAME; false with a message.  The text
 * has to stay. */
bool qcf_snapshot_choice_parse(struct img_snapshot_choice *choice,
                               const char *text);
void qcf_snapshot_choice_fini(struct img_snapshot_choice *choice);

/* Put the snapshot chosen in the place of an open image; false with a
 * message. */
bool qcf_snapshot_choice_open(const struct img_snapshot_choice *choice,
                              const struct qcf_tool_open *request,
                              struct qcowfmt_image **image);

#endif
