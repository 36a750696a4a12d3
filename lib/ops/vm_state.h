/* SPDX-License-Identifier: MIT */
/*
 * vm_state.h - bytes kept behind the disk
 *
 * They are mapped like guest data, from the first L1 entry that maps nothing of
 * the disk.  The L1 table grows as it needs to.  Backing files have no part in
 * it.
 */
#ifndef QCF_VM_STATE_H
#define QCF_VM_STATE_H

#include "image.h"

/* As qcowfmt_vm_state_pread() and qcowfmt_vm_state_pwrite(). */
int qcf_vm_state_read(struct qcowfmt_image *image, void *buffer, uint64_t len,
                      uint64_t offset, struct qcowfmt_error **errp);
int qcf_vm_state_write(struct qcowfmt_image *image, const void *buffer,
                       uint64_t len, uint64_t offset,
                       struct qcowfmt_error **errp);

#endif
