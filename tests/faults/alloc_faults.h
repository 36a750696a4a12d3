/* SPDX-License-Identifier: MIT */
/*
 * alloc_faults.h - memory allocation that fails when told to
 *
 * The program is linked with --wrap for the functions in alloc_faults.c, so
 * that calls from the library's objects come there first.  Only calls made
 * while the library is being called count: the test's own must not fail.
 */
#ifndef QCF_ALLOC_FAULTS_H
#define QCF_ALLOC_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* The n-th allocation from now on fails (1 is the next), and with sticky all
 * that follow; 0 stops it. */
void alloc_faults_set(uint64_t nth, bool sticky);

/* How many allocations were asked for and refused since then. */
uint64_t alloc_faults_calls(void);
uint64_t alloc_faults_refused(void);

/* How many blocks of memory are allocated, by anybody: what a call has leaked
 * shows in the difference between before and after. */
int64_t alloc_faults_live(void);

/* The library is being called, or has returned. */
void alloc_faults_inside(bool inside);

#endif
