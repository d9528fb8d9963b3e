package email

import (
	"net/textproto"

	"dunlin/paylink"
)

// Classify judges a reply at the given phase: 0 connecting, 1 MAIL, 2 RCPT, 3 DATA, 4 body, 5 dot.
func Classify(at, code int, text string) *paylink.Failure {
	phases := []phase{atConnect, atMail, atRcpt, atData, atBody, atDot}
	return classify(phases[at], &textproto.Error{Code: code, Msg: text})
}
