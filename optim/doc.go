// Package optim updates parameters: SGD, Adam and AdamW, schedules of the learning rate, and
// clipping of gradients.
//
// # One flat block
//
// Parameters, gradients and optimizer state are each one []float32 in the order of the network's
// parameters (proxies behind them). Groups are ranges of that block with their own weight decay and
// learning-rate scale: no decay on biases and norms, a hundredfold rate for proxies. The state of
// an optimizer, step counts included, is itself one block, so that handing it to a joining worker
// is one broadcast and a checkpoint is a few named views of it.
//
// # Same numbers for any number of threads
//
// Every element is updated from itself alone, so splitting the block among threads changes nothing.
// Arithmetic is float32 in the order of operations of PyTorch's reference loops; scalars (learning
// rate, bias corrections) are float64 until the loop. Sums of a norm are float64 in a fixed order.
//
// # Cost
//
// AdamW reads and writes 28 bytes per parameter. With AVX it takes eight parameters at a time, with
// the bits of the plain loop, and beyond a few hundred thousand parameters it is bound by memory.
package optim
