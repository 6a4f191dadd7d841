// Package product draws photographs of products that do not exist.
//
// A Product is what all images of a class share: a kind (chair, kettle, clock, ...), the shapes of
// its parts, their patterns, and how the colours of the parts relate. A photograph adds what must
// not identify it: the viewpoint (turned about all three axes, in perspective), size and place, the
// colourway (a turn of all hues), the colour and direction of the light, the background with its
// clutter, something that may stand in front, noise and blur. Products of one kind look alike.
//
// A product is 2.5-dimensional: flat parts, in units of about its half height, at depths z, each
// extruded backwards; a turn moves near parts against far ones and shows the sides. Everything is a
// function of the *draw.Rand given, and is drawn at twice the size and averaged down.
package product
