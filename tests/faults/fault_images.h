/* SPDX-License-Identifier: MIT */
/* fault_images.h - the images that trials are made on */
#ifndef QCF_FAULT_IMAGES_H
#define QCF_FAULT_IMAGES_H

#include "fault_trial.h"

uint64_t trial_disk_size(const struct trial_kind *kind);

/* Make all files of a trial's kind, where the trial has its files. */
void trial_make_images(struct trial *t);

/* Make some counts of a qcow2 image wrong: too high, and one too low. */
void trial_damage(struct fault_disk *disk);

#endif
