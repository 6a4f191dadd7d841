package dataset

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// readLines calls use with each line of an index that is not blank, without its end and the blanks
// around it. Errors begin with name and the line. It accepts CRLF and a byte order mark.
func readLines(r io.Reader, name string, use func(text string) error) error {
	br := bufio.NewReaderSize(r, maxIndexLine+2)
	for line := 1; ; line++ {
		text, err := readLine(br)
		if err == io.EOF {
			return nil
		}
		if line == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if text = strings.TrimSpace(text); err == nil && text != "" {
			err = use(text)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, line, err)
		}
	}
}

// readLinesOf is readLines of a file.
func readLinesOf(file string, use func(text string) error) error {
	f, err := openIndexFile(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return readLines(f, file, use)
}

// cutNumber takes a whole number of 1 or more off a line.
func cutNumber(text, what string) (n int64, rest string, err error) {
	word := text
	if i := strings.IndexAny(text, " \t"); i >= 0 {
		word, rest = text[:i], strings.TrimSpace(text[i:])
	}
	n, err = strconv.ParseInt(word, 10, 64)
	if err != nil || n < 1 {
		return 0, "", fmt.Errorf("the %s is %q; it must be a whole number of 1 or more", what, clip(word))
	}
	return n, rest, nil
}
