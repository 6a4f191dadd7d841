/* Every entry that gorgonia.org/cu links resolves: what the emulator does not do says so. The functions of the
 * other files take the place of these, which are weak. */
#define ENTRY(i, name) \
	__attribute__((weak, visibility("default"))) int name(void) { return 801; /* CUDA_ERROR_NOT_SUPPORTED */ }
#include "../../driver/entries.h"
