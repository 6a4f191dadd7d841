package k8s

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// token has the form that docs/kubernetes.md tells to make: a letter first, because the server
// would read digits as a number.
const token = "t0123456789abcdef0123456789abcdef"

// natsConfigs are the files and the kustomizations that use them.
var natsConfigs = map[string]string{"base": "base", "overlays/small": "overlays/small", "overlays/gpu": "base"}

// The server of the image is the server we are tested with, and it must accept the file.
func TestNATSReadsItsConfiguration(t *testing.T) {
	t.Setenv("NATS_TOKEN", token)
	for root, folder := range natsConfigs {
		t.Run(root, func(t *testing.T) {
			opts, err := server.ProcessConfigFile(filepath.Join(folder, "nats.conf"))
			require.NoError(t, err)
			assert.Equal(t, token, opts.Authorization)
			assert.Equal(t, int32(8<<20), opts.MaxPayload)

			m := render(t, root)
			w := m.find(t, "nats")
			assert.Equal(t, "nats:"+server.VERSION+"-alpine", w.pod.Containers[0].Image)
			ports := w.ports()
			assert.Equal(t, ports["client"], int32(opts.Port))
			assert.Equal(t, ports["monitor"], int32(opts.HTTPPort))
			if w.replicas == 1 {
				assert.Empty(t, opts.Routes)
				return
			}
			assert.Equal(t, ports["cluster"], int32(opts.Cluster.Port))
			headless := m.statefulSets["nats"].Spec.ServiceName
			require.Len(t, opts.Routes, int(w.replicas))
			for i, route := range opts.Routes {
				assert.Equal(t, fmt.Sprintf("nats-%d.%s:%d", i, headless, opts.Cluster.Port), route.Host)
			}
		})
	}
}

// The file must reach the path that the command names, and the container must know the token.
func TestNATSContainerIsGivenItsConfiguration(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		w := m.find(t, "nats")
		c := w.pod.Containers[0]
		assert.Contains(t, c.Command, filepath.Join(c.VolumeMounts[0].MountPath, "nats.conf"))
		config := m.configMaps[w.pod.Volumes[0].ConfigMap.Name]
		require.NotNil(t, config)
		assert.Contains(t, config.Data, "nats.conf")
		assert.True(t, strings.HasPrefix(config.Name, "nats-config-"), "a changed file must roll the servers")
		known := map[string]bool{}
		for _, e := range c.Env {
			known[e.Name] = true
		}
		assert.True(t, known["NATS_TOKEN"])
	})
}

// A server started from the file offers 8 MiB to whoever has the token and turns others away.
func TestNATSServesWhoHasTheToken(t *testing.T) {
	t.Setenv("NATS_TOKEN", token)
	for _, root := range []string{"base", "overlays/small"} {
		t.Run(root, func(t *testing.T) {
			opts, err := server.ProcessConfigFile(filepath.Join(root, "nats.conf"))
			require.NoError(t, err)
			opts.Host, opts.Port, opts.HTTPPort, opts.PidFile = "127.0.0.1", -1, -1, ""
			opts.NoSigs, opts.NoLog, opts.Routes = true, true, nil
			if opts.Cluster.Port != 0 {
				opts.Cluster.Host, opts.Cluster.Port = "127.0.0.1", -1
			}
			s, err := server.NewServer(opts)
			require.NoError(t, err)
			s.Start()
			t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
			require.True(t, s.ReadyForConnections(10*time.Second))

			address := strings.TrimPrefix(s.ClientURL(), "nats://")
			nc, err := nats.Connect("nats://" + token + "@" + address)
			require.NoError(t, err)
			t.Cleanup(nc.Close)
			assert.Equal(t, int64(8<<20), nc.MaxPayload())

			_, err = nats.Connect("nats://" + address)
			assert.ErrorIs(t, err, nats.ErrAuthorization)
		})
	}
}
