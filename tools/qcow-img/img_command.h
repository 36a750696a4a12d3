/* SPDX-License-Identifier: MIT */
/*
 * img_command.h - the subcommands of qcow-img
 *
 * Each takes its own name and arguments as main() does, and returns the exit
 * code.
 */
#ifndef QCF_IMG_COMMAND_H
#define QCF_IMG_COMMAND_H

int qcf_img_amend(int argc, char **argv);
int qcf_img_bench(int argc, char **argv);
int qcf_img_bitmap(int argc, char **argv);
int qcf_img_check(int argc, char **argv);
int qcf_img_commit(int argc, char **argv);
int qcf_img_compare(int argc, char **argv);
int qcf_img_compact(int argc, char **argv);
int qcf_img_convert(int argc, char **argv);
int qcf_img_create(int argc, char **argv);
int qcf_img_dd(int argc, char **argv);
int qcf_img_dehydrate(int argc, char **argv);
int qcf_img_info(int argc, char **argv);
int qcf_img_inspect(int argc, char **argv);
int qcf_img_map(int argc, char **argv);
int qcf_img_measure(int argc, char **argv);
int qcf_img_rebase(int argc, char **argv);
int qcf_img_resize(int argc, char **argv);
int qcf_img_snapshot(int argc, char **argv);

#endif
