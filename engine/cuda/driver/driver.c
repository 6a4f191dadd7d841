/* The NVIDIA driver, found when the program runs.
 *
 * gorgonia.org/cu is linked against libcuda and calls cuInit before main; on a machine without a driver
 * a program linked the usual way would not even be loaded, and one without a card would end at once with
 * a line about initialisation. This small archive stands in for libcuda at link time. Its cuInit opens
 * libcuda.so.1, looks up every entry of entries.h and always reports success; what went wrong, if
 * anything, is what every other entry then returns. So the program starts everywhere, and package cuda
 * says in a sentence what is missing.
 *
 * An entry is one indirect jump: arguments and results pass untouched.
 */
#include <dlfcn.h>
#include <stddef.h>

enum {
	STUB_LIBRARY = 34, /* CUDA_ERROR_STUB_LIBRARY: there is no driver */
	NOT_FOUND = 500    /* CUDA_ERROR_NOT_FOUND: the driver lacks this entry */
};

static int failure = STUB_LIBRARY;

static int absent(void) { return failure; }
static int lacking(void) { return NOT_FOUND; }

static const char *const names[] = {
#define ENTRY(i, name) [i] = #name,
#include "entries.h"
#undef ENTRY
};

enum { COUNT = sizeof names / sizeof *names };

/* Read by the entries below. */
void *metrix_cuda_table[COUNT] = {[0 ... COUNT - 1] = (void *)absent};

#if defined(__x86_64__)
#define JUMP(i) "\tjmp *metrix_cuda_table+8*" #i "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(i) \
	"\tadrp x16, metrix_cuda_table+8*" #i "\n" \
	"\tldr x16, [x16, :lo12:metrix_cuda_table+8*" #i "]\n" \
	"\tbr x16\n"
#else
#error "the driver's entries are written for x86-64 and 64-bit Arm"
#endif

#define ENTRY(i, name) \
	__asm__(".text\n\t.globl " #name "\n\t.type " #name ", %function\n" #name ":\n" JUMP(i) "\t.size " #name ", .-" #name "\n");
#include "entries.h"
#undef ENTRY

/* cuInit always reports success, see above. */
int cuInit(unsigned flags) {
	void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
	if (driver == NULL)
		return 0;
	int (*init)(unsigned) = (int (*)(unsigned))dlsym(driver, "cuInit");
	failure = init == NULL ? NOT_FOUND : init(flags);
	if (failure != 0)
		return 0;
	for (int i = 0; i < COUNT; i++) {
		void *entry = dlsym(driver, names[i]);
		metrix_cuda_table[i] = entry != NULL ? entry : (void *)lacking;
	}
	return 0;
}
