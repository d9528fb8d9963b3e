// Package chaos holds one test: the plain programs are killed, stopped and robbed of their Redis while they send a few
// thousand payment links, and in the end every row must be accounted for and nobody asked twice. It is a package of its
// own because it builds and runs the programs rather than calling them.
package chaos
