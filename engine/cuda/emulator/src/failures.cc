// Failures and options that the environment asks for, read at every question so that a test can change them.
#include <cstdlib>
#include <cstring>

#include "internal.h"

namespace emulator {

std::recursive_mutex &mutex() {
    static std::recursive_mutex m;
    return m;
}

long failing(const char *word) {
    const char *text = getenv("METRIX_EMULATOR_FAIL");
    const size_t length = strlen(word);
    while (text != nullptr && *text != 0) {
        const char *end = strchr(text, ',');
        if (strncmp(text, word, length) == 0) {
            if (text[length] == ':')
                return atol(text + length + 1);
            if (text[length] == 0 || text[length] == ',')
                return 1;
        }
        text = end == nullptr ? nullptr : end + 1;
    }
    return -1;
}

long option(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text == nullptr || *text == 0 ? otherwise : atol(text);
}

} // namespace emulator
