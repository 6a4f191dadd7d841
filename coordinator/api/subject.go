package api

import "github.com/metrixml/metrix/run"

// The subjects of a group. Every node answers on its own, so a message reaches the node it is for:
//
//	metrix.<group>.coordinator.find            who leads? every node answers with a Hello
//	metrix.<group>.coordinator.<node>.command  Command -> Reply
//	metrix.<group>.coordinator.<node>.query    Query -> Reply
//	metrix.<group>.coordinator.<node>.beat     Beat -> Reply
//	metrix.<group>.run.<run>.plan              the leader publishes every new Plan

// ValidToken reports whether s can name a group or a node: the rule of run.ValidID.
func ValidToken(s string) bool { return run.ValidID(run.ID(s)) }

// SubjectFind is where a client asks who leads.
func SubjectFind(group string) string { return "metrix." + group + ".coordinator.find" }

// SubjectCommand is where a node takes commands.
func SubjectCommand(group, node string) string { return subjectNode(group, node, "command") }

// SubjectQuery is where a node takes queries.
func SubjectQuery(group, node string) string { return subjectNode(group, node, "query") }

// SubjectBeat is where a node takes beats.
func SubjectBeat(group, node string) string { return subjectNode(group, node, "beat") }

// SubjectPlan is where the plans of a run are published.
func SubjectPlan(group string, id run.ID) string {
	return "metrix." + group + ".run." + string(id) + ".plan"
}

func subjectNode(group, node, kind string) string {
	return "metrix." + group + ".coordinator." + node + "." + kind
}
