/* SPDX-License-Identifier: MIT */
/* img_output.h - the --output option that several commands have */
#ifndef QCF_IMG_OUTPUT_H
#define QCF_IMG_OUTPUT_H

#include <stdbool.h>

/* human or json; false with a message for anything else. */
bool qcf_parse_output(const char *name, bool *json);

#endif
