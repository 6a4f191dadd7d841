package matfile

import "unicode/utf16"

const (
	headerBytes = 128
	versionAt   = 124
	endianAt    = 126
	version     = 0x0100
)

// Types of elements.
const (
	typeInt8       = 1
	typeUint8      = 2
	typeInt16      = 3
	typeUint16     = 4
	typeInt32      = 5
	typeUint32     = 6
	typeSingle     = 7
	typeDouble     = 9
	typeInt64      = 12
	typeUint64     = 13
	typeMatrix     = 14
	typeCompressed = 15
	typeUTF8       = 16
	typeUTF16      = 17
)

// Classes of matrices.
const (
	classCell   = 1
	classStruct = 2
	classChar   = 4
	classDouble = 6 // the first numeric class
	classUint64 = 15
)

// widths are the bytes of a number of each type.
func width(typ uint32) int {
	switch typ {
	case typeInt8, typeUint8, typeUTF8:
		return 1
	case typeInt16, typeUint16, typeUTF16:
		return 2
	case typeInt32, typeUint32, typeSingle:
		return 4
	case typeDouble, typeInt64, typeUint64:
		return 8
	}
	return 0
}

func utf16Of(s string) []uint16 { return utf16.Encode([]rune(s)) }

// padded rounds a length up to a multiple of 8.
func padded(n int) int { return (n + 7) &^ 7 }
