package model

import "fmt"

// conv4 is a small network for training from scratch on images of 32 to 96 pixels. With w = Width:
//
//	conv1  3x3, 3  -> w           norm, ReLU, 2x2 max pool    Side/2
//	conv2  3x3, w  -> 2w  / 2     norm, ReLU                  Side/4
//	conv3  3x3, 2w -> 4w  / 2     norm, ReLU                  Side/8
//	conv4  3x3, 4w -> 4w          norm, + its input, ReLU     Side/8
//
// At 48 pixels and w = 32 a forward takes 12.6 million multiply-adds.
func conv4(s Spec) (trunk []Layer, channels int) {
	w := s.Width
	conv := func(i, in, out, stride int) []Layer {
		return []Layer{
			&Conv{Name: fmt.Sprintf("conv%d", i), In: in, Out: out, Kernel: 3, Stride: stride, Pad: 1},
			s.normLayer(fmt.Sprintf("norm%d", i), out, 8),
		}
	}
	trunk = append(conv(1, 3, w, 1), &ReLU{}, &MaxPool{Name: "maxpool", Kernel: 2, Stride: 2})
	trunk = append(trunk, conv(2, w, 2*w, 2)...)
	trunk = append(trunk, &ReLU{})
	trunk = append(trunk, conv(3, 2*w, 4*w, 2)...)
	trunk = append(trunk, &ReLU{})
	trunk = append(trunk, &Residual{Name: "block4", Main: conv(4, 4*w, 4*w, 1)}, &ReLU{})
	return trunk, 4 * w
}

// block builds one residual block: its two branches and the number of channels that leave it.
type block func(s Spec, name string, in, planes, stride int) (main []Layer, out int)

// resnet builds the trunk of a ResNet with torchvision's names and shapes (its stride is on the 3x3
// convolution, "v1.5"), up to the output of layer4.
func resnet(s Spec, make block, blocks [4]int) (trunk []Layer, channels int) {
	in := s.Width
	trunk = []Layer{
		&Conv{Name: "conv1", In: 3, Out: in, Kernel: 7, Stride: 2, Pad: 3},
		s.resnetNorm("bn1", in),
		&ReLU{},
		&MaxPool{Name: "maxpool", Kernel: 3, Stride: 2, Pad: 1},
	}
	for stage, count := range blocks {
		planes := s.Width << stage
		for i := range count {
			stride := 1
			if stage > 0 && i == 0 {
				stride = 2
			}
			name := fmt.Sprintf("layer%d.%d", stage+1, i)
			main, out := make(s, name, in, planes, stride)
			trunk = append(trunk, &Residual{Name: name, Main: main, Shortcut: s.downsample(name, in, out, stride)}, &ReLU{})
			in = out
		}
	}
	return trunk, in
}

// resnetNorm groups into 32, the value of the group norm paper (Wu and He 2018), or 8 where a narrow
// network does not divide by 32.
func (s Spec) resnetNorm(name string, channels int) Layer {
	groups := 32
	if channels%groups != 0 {
		groups = 8
	}
	return s.normLayer(name, channels, groups)
}

func (s Spec) convNorm(name, norm string, in, out, kernel, stride int) []Layer {
	return []Layer{
		&Conv{Name: name, In: in, Out: out, Kernel: kernel, Stride: stride, Pad: kernel / 2},
		s.resnetNorm(norm, out),
	}
}

// downsample is the shortcut of a block: empty where the shapes agree.
func (s Spec) downsample(name string, in, out, stride int) []Layer {
	if in == out && stride == 1 {
		return nil
	}
	return s.convNorm(name+".downsample.0", name+".downsample.1", in, out, 1, stride)
}

// basicBlock is the block of ResNet-18: two 3x3 convolutions.
func basicBlock(s Spec, name string, in, planes, stride int) ([]Layer, int) {
	main := s.convNorm(name+".conv1", name+".bn1", in, planes, 3, stride)
	main = append(main, &ReLU{})
	return append(main, s.convNorm(name+".conv2", name+".bn2", planes, planes, 3, 1)...), planes
}

// bottleneck is the block of ResNet-50: 1x1 down, 3x3, 1x1 up to four times the planes.
func bottleneck(s Spec, name string, in, planes, stride int) ([]Layer, int) {
	main := s.convNorm(name+".conv1", name+".bn1", in, planes, 1, 1)
	main = append(main, &ReLU{})
	main = append(main, s.convNorm(name+".conv2", name+".bn2", planes, planes, 3, stride)...)
	main = append(main, &ReLU{})
	return append(main, s.convNorm(name+".conv3", name+".bn3", planes, 4*planes, 1, 1)...), 4 * planes
}
