/* SPDX-License-Identifier: MIT */
/* tool_driver.h - the block drivers that QEMU's programs know */
#ifndef QCF_TOOL_DRIVER_H
#define QCF_TOOL_DRIVER_H

#include <stdbool.h>

/* Whether QEMU has a block driver of this name, even if nothing here can open
 * its images. */
bool qcf_is_known_driver(const char *name);

#endif
