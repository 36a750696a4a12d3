/* SPDX-License-Identifier: MIT */
/*
 * stack_switch.h - tells AddressSanitizer which stack is in use
 *
 * Nothing in other builds.
 */
#ifndef QCF_STACK_SWITCH_H
#define QCF_STACK_SWITCH_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define QCF_STACK_SWITCH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define QCF_STACK_SWITCH_ASAN 1
#endif
#endif

/* One stack. */
struct qcf_stack_switch {
	const void *bottom;
	size_t size;
	void *fake; /* the sanitizer's, while the stack is not in use */
	struct qcf_stack_switch *from; /* the one before */
};

static inline void qcf_stack_init(struct qcf_stack_switch *stack,
                                  const void *bottom, size_t size)
{
	*stack = (struct qcf_stack_switch){ bottom, size, NULL, NULL };
}

#ifdef QCF_STACK_SWITCH_ASAN

#include <sanitizer/common_interface_defs.h>

/* Just before switching; for_ever: the old stack is not needed any more. */
static inline void qcf_stack_leave(struct qcf_stack_switch *old,
                                   struct qcf_stack_switch *next, bool for_ever)
{
	next->from = old;
	__sanitizer_start_switch_fiber(for_ever ? NULL : &old->fake,
	                               next->bottom, next->size);
}

/* Just after, on the new stack.  The first one is learnt here. */
static inline void qcf_stack_arrive(struct qcf_stack_switch *stack)
{
	const void *bottom = NULL;
	size_t size = 0;

	__sanitizer_finish_switch_fiber(stack->fake, &bottom, &size);
	stack->fake = NULL;
	if (stack->from != NULL && stack->from->bottom == NULL) {
		stack->from->bottom = bottom;
		stack->from->size = size;
	}
}

#else

static inline void qcf_stack_leave(struct qcf_stack_switch *old,
                                   struct qcf_stack_switch *next, bool for_ever)
{
	(void)old;
	(void)next;
	(void)for_ever;
}

static inline void qcf_stack_arrive(struct qcf_stack_switch *stack)
{
	(void)stack;
}

#endif

#endif
