package k8s

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func TestServicesReachNamedPortsOfPodsThatExist(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		for name, s := range m.services {
			reached := 0
			for _, w := range m.workloads() {
				if !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(w.labels)) {
					continue
				}
				reached++
				for _, p := range s.Spec.Ports {
					port, there := w.ports()[p.TargetPort.StrVal]
					require.True(t, there, "service %s: %s has no port %q", name, w.name, p.TargetPort.StrVal)
					assert.Equal(t, port, p.Port, "service %s, port %s", name, p.Name)
				}
			}
			assert.Equal(t, 1, reached, "service %s selects the pods of one workload", name)
		}
	})
}

// flow is one connection that somebody might open.
type flow struct{ from, to, port string }

// The policies allow what the design needs and nothing else, direction by direction.
func TestNetworkPoliciesAllowExactlyTheseFlows(t *testing.T) {
	wanted := map[flow]bool{
		{"coordinator", "coordinator", "raft"}: true,
		{"coordinator", "nats", "client"}:      true,
		{"worker", "nats", "client"}:           true,
		{"nats", "nats", "cluster"}:            true,
	}
	eachRoot(t, func(t *testing.T, m *manifests) {
		for _, from := range m.workloads() {
			for _, to := range m.workloads() {
				for port := range to.ports() {
					f := flow{from.name, to.name, port}
					got := m.egress(t, from, to, port) && m.ingress(t, from, to, port)
					assert.Equal(t, wanted[f], got, "%s to port %s of %s", f.from, f.port, f.to)
				}
			}
		}
	})
}

// Scrapes come from labelled namespaces, and names are asked of the cluster's DNS.
func TestNetworkPoliciesLetMetricsInAndDNSOut(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		scrape := m.policies["metrics"]
		require.NotNil(t, scrape)
		for _, w := range []string{"coordinator", "worker"} {
			workload := m.find(t, w)
			assert.True(t, matches(t, &scrape.Spec.PodSelector, workload.labels))
			assert.Contains(t, workload.ports(), scrape.Spec.Ingress[0].Ports[0].Port.StrVal)
		}
		dns := m.policies["dns"]
		require.NotNil(t, dns)
		assert.Empty(t, dns.Spec.PodSelector.MatchLabels, "every pod needs names")
		assert.Equal(t, int32(53), dns.Spec.Egress[0].Ports[0].Port.IntVal)
	})
}

// Both directions are closed for every pod, so that the rest of the policies only open.
func TestDefaultIsDeny(t *testing.T) {
	eachRoot(t, func(t *testing.T, m *manifests) {
		deny := m.policies["default-deny"]
		require.NotNil(t, deny)
		assert.Empty(t, deny.Spec.PodSelector.MatchLabels)
		assert.ElementsMatch(t, []networkingv1.PolicyType{"Ingress", "Egress"}, deny.Spec.PolicyTypes)
		assert.Empty(t, deny.Spec.Ingress)
		assert.Empty(t, deny.Spec.Egress)
		for name, p := range m.policies {
			assert.NotEmpty(t, p.Spec.PolicyTypes, name)
		}
	})
}

// egress reports whether some policy of from lets it open the port of to.
func (m *manifests) egress(t *testing.T, from, to workload, port string) bool {
	t.Helper()
	for _, p := range m.policies {
		if !matches(t, &p.Spec.PodSelector, from.labels) {
			continue
		}
		for _, rule := range p.Spec.Egress {
			if names(rule.Ports, port) && peer(t, rule.To, to.labels) {
				return true
			}
		}
	}
	return false
}

// ingress reports whether some policy of to lets from open its port.
func (m *manifests) ingress(t *testing.T, from, to workload, port string) bool {
	t.Helper()
	for _, p := range m.policies {
		if !matches(t, &p.Spec.PodSelector, to.labels) {
			continue
		}
		for _, rule := range p.Spec.Ingress {
			if names(rule.Ports, port) && peer(t, rule.From, from.labels) {
				return true
			}
		}
	}
	return false
}

func names(ports []networkingv1.NetworkPolicyPort, port string) bool {
	for _, p := range ports {
		if p.Port.StrVal == port {
			return true
		}
	}
	return false
}

// peer reports whether one of the peers is a pod of this namespace with these labels.
func peer(t *testing.T, peers []networkingv1.NetworkPolicyPeer, podLabels map[string]string) bool {
	t.Helper()
	for _, p := range peers {
		if p.NamespaceSelector == nil && p.PodSelector != nil && matches(t, p.PodSelector, podLabels) {
			return true
		}
	}
	return false
}
