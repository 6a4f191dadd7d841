package metrix_test

// listwiseForms are the rows of the table that are not of the paper's form.
func listwiseForms() []string { return []string{"triplet", "nt_xent", "supcon", "recall_at_k"} }
