/* SPDX-License-Identifier: MIT */
/* mutant_switch.h - which mutant of the library runs */
#ifndef QCF_MUTANT_SWITCH_H
#define QCF_MUTANT_SWITCH_H

#include <stdbool.h>

/* Whether the environment asks for this mutant.  The first time a place is
 * passed it is noted. */
bool qcf_mutant_is_on(unsigned int number, bool *noted);

#define qcf_mutant(number)                         \
	(__extension__({                           \
		static bool noted_;                \
                                                   \
		qcf_mutant_is_on(number, &noted_); \
	}))

#endif
