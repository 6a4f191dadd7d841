package recipe

import "strings"

// suggestion names the known word nearest to what was written, if one is near enough to be a slip.
func suggestion(word string, known []string) string {
	best, distance := "", 1+len(word)/3
	word = strings.ToLower(word)
	for _, k := range known {
		if d := editDistance(word, k, distance); d <= distance && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	if best == "" || len(word) > 64 {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// nearest suggests one of the words of a choice.
func nearest(f field, n *node) string {
	names, ok := strings.CutPrefix(f.valid, "one of ")
	if !ok {
		return ""
	}
	return suggestion(n.text, strings.Split(names, ", "))
}

// editDistance is the number of letters to insert, delete, replace or swap with their neighbour
// (optimal string alignment); more than limit is returned as limit+1 where that is cheap to see.
func editDistance(a, b string, limit int) int {
	if abs(len(a)-len(b)) > limit || len(a) > 64 {
		return limit + 1
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

func abs(x int) int {
	if x < 0 {
		return -x
	}
	return x
}
