package product

// kind is a super class: a name for people and how its products are laid out.
type kind struct {
	name string
	draw func(*design)
}

// kinds are the super classes. The order is part of what a seed means.
func kinds() []kind {
	return []kind{
		{"vase", vase}, {"mug", mug}, {"teapot", teapot}, {"lamp", lamp}, {"chair", chair},
		{"cabinet", cabinet}, {"bag", bag}, {"clock", clock}, {"car", car}, {"guitar", guitar},
		{"bottle", bottle}, {"shoe", shoe},
	}
}
