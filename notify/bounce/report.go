package bounce

import (
	"bytes"
	"io"
	"strings"

	"github.com/emersion/go-message"

	"dunlin/notify/mailstatus"
	"dunlin/paylink"
)

// Action is what a report says became of the mail.
type Action string

// The actions of RFC 3464, and two for mail that is no such report.
const (
	Failed     Action = "failed"
	Delayed    Action = "delayed"
	Delivered  Action = "delivered"
	Relayed    Action = "relayed"  // handed to a system that reports no more
	Expanded   Action = "expanded" // delivered to a list
	Reply      Action = "reply"    // a vacation notice or another automatic answer: it arrived
	Unreadable Action = "unreadable"
)

// Report is what came back, reduced to codes: no address, no server's name and none of its words.
type Report struct {
	Action Action `json:"action"`
	// Status is the enhanced code such as 5.1.1; empty if none was given.
	Status string `json:"status,omitempty"`
	// Reply is the SMTP reply code that the last server gave, such as 550; empty if none was given.
	Reply string `json:"reply,omitempty"`
	// Passed: the mail had been passed on to another address, and that one failed. It says nothing of the payer's own.
	Passed bool `json:"passed,omitempty"`
}

const (
	// MaxMail is how much of a message is looked at; a report stands before the mail that it returns.
	MaxMail = 1 << 20
	// maxStatus bounds the machine-readable part, maxDepth and maxParts the structure around it.
	maxStatus, maxHeader = 64 << 10, 64 << 10
	maxDepth, maxParts   = 4, 40
)

// Read reads a message that came back. It never fails: what is no report is [Unreadable], or [Reply].
func Read(r io.Reader) Report {
	e, _ := message.ReadWithOptions(io.LimitReader(r, MaxMail), &message.ReadOptions{MaxHeaderBytes: maxHeader})
	if e == nil { // e may be good in spite of an error, which is then about a character set
		return Report{Action: Unreadable}
	}
	parts := maxParts
	if report, ok := find(e, maxDepth, &parts); ok {
		return report
	}
	kind, _, _ := e.Header.ContentType()
	auto := strings.ToLower(strings.TrimSpace(e.Header.Get("Auto-Submitted")))
	if strings.HasPrefix(auto, "auto-replied") && !strings.EqualFold(kind, "multipart/report") {
		return Report{Action: Reply}
	}
	return Report{Action: Unreadable}
}

// find looks for the first delivery status. Mail that is attached whole is not entered: what it says is about other mail.
func find(e *message.Entity, depth int, parts *int) (Report, bool) {
	kind, _, _ := e.Header.ContentType()
	switch strings.ToLower(kind) {
	case "message/delivery-status", "message/global-delivery-status":
		b, _ := io.ReadAll(io.LimitReader(e.Body, maxStatus)) // what could be read of a broken one is worth looking at
		return status(b)
	}
	mr := e.MultipartReader()
	if mr == nil || depth == 0 {
		return Report{}, false
	}
	for *parts > 0 {
		*parts--
		part, err := mr.NextPart()
		if part == nil {
			return Report{}, false
		}
		if report, ok := find(part, depth-1, parts); ok {
			return report, true
		}
		if err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
			return Report{}, false
		}
	}
	return Report{}, false
}

// status reads the fields of RFC 3464: a block about the message, then one for each recipient. A mail of ours has one
// recipient; a list or an alias may make several of it. It failed only if it failed for all of them.
func status(b []byte) (Report, bool) {
	var out Report
	seen, failed := 0, 0
	for _, block := range blocks(b) {
		action := Action(strings.ToLower(block["action"]))
		switch action {
		case Failed, Delayed, Delivered, Relayed, Expanded:
		default:
			continue
		}
		report := Report{Action: action, Status: mailstatus.Parse(block["status"], 0)}
		// Some systems say 5.0.0 and give the real code in the words of the last server.
		_, words, _ := strings.Cut(block["diagnostic-code"], ";")
		reply, enhanced := diagnosis(strings.TrimSpace(words))
		if report.Reply = reply; report.Status == "" || strings.HasSuffix(report.Status, ".0.0") {
			if enhanced != "" {
				report.Status = enhanced
			}
		}
		first, last := mailbox(block["original-recipient"]), mailbox(block["final-recipient"])
		report.Passed = first != "" && last != "" && first != last
		if seen++; action == Failed {
			failed++
		}
		if seen == 1 || out.Action == Failed && action != Failed {
			out = report
		}
	}
	if failed > 1 {
		out.Passed = true
	}
	return out, seen > 0
}

// blocks are groups of fields by lower-case name, divided by empty lines; the first of equal names counts.
func blocks(b []byte) []map[string]string {
	var out []map[string]string
	var block map[string]string
	name := ""
	for line := range bytes.Lines(b) {
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case strings.TrimSpace(text) == "":
			block, name = nil, ""
		case text[0] == ' ' || text[0] == '\t':
			if name != "" {
				block[name] += " " + strings.TrimSpace(text)
			}
		default:
			key, value, ok := strings.Cut(text, ":")
			if name = ""; !ok {
				continue
			}
			if block == nil {
				block = map[string]string{}
				out = append(out, block)
			}
			if key = strings.ToLower(strings.TrimSpace(key)); block[key] == "" {
				name, block[key] = key, strings.TrimSpace(value)
			}
		}
	}
	return out
}

// diagnosis takes the codes from the front of "550 5.1.1 …", "550-5.1.1 …" or "5.1.1 …".
func diagnosis(words string) (reply, enhanced string) {
	if len(words) >= 3 && (words[0] == '4' || words[0] == '5') && strings.Trim(words[:3], "0123456789") == "" &&
		(len(words) == 3 || words[3] == ' ' || words[3] == '-') {
		reply, words = words[:3], words[min(4, len(words)):]
		return reply, mailstatus.Parse(words, int(reply[0]-'0'))
	}
	return "", mailstatus.Parse(words, 0)
}

// mailbox is the address of "rfc822; a@b", to be compared.
func mailbox(field string) string {
	_, address, _ := strings.Cut(field, ";")
	return strings.ToLower(strings.Trim(strings.TrimSpace(address), "<>"))
}

// Receipt is what the ledger is told; ok is false if the report changes nothing. That our account, sender or reputation
// was not accepted is said by the cause: the payer's address is not to blame then.
func (r Report) Receipt(token string) (m paylink.MessageReceipt, ok bool) {
	if r.Action != Failed {
		return m, false
	}
	v, known := mailstatus.Permanent(r.Status)
	switch {
	case strings.HasPrefix(r.Status, "4."): // given up after many tries: the mailbox may be well tomorrow
		v = mailstatus.Verdict{Scope: paylink.ScopeRow, Cause: paylink.CauseUndelivered}
		if strings.HasPrefix(r.Status, "4.2.") {
			v.Cause = paylink.CauseMailboxFull
		}
	case !known:
		v = mailstatus.Verdict{Scope: paylink.ScopeRow, Cause: paylink.CauseUndelivered}
	}
	code := strings.TrimSpace(r.Reply + " " + r.Status)
	return paylink.MessageReceipt{Token: token, State: paylink.MessageUndelivered, RawState: string(r.Action), Failure: &paylink.Failure{
		// Whoever is to blame, this mail will not arrive: the verdict's kind is about trying again at once.
		Kind: paylink.Permanent, Scope: v.Scope, Cause: v.Cause, Code: code, Detail: "came back", Suppress: v.Suppress && !r.Passed}}, true
}

// Ours reports whether the mail was refused because of our account, sender or reputation.
func (r Report) Ours() bool {
	m, ok := r.Receipt("")
	return ok && m.Failure.Cause == paylink.CauseAccount
}
