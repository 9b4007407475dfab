// Package webserver is what stands between the network and a handler that serves
// files: limits, reading access, encryption, a log, and an orderly end.
//
// A request passes, from the outside in:
//
//	connection   at most Config.MaxConnections are open, a third of what is free to one client
//	TLS          1.2 or newer, perhaps with a client certificate
//	header       16 KiB in 10 seconds
//	log          one line for each request, also for one that is refused below
//	rate         of requests by client: 429
//	room         half as many requests at a time as connections, a third of what is free by one client: 503, 429
//	body         none: 413
//	token        401; a client certificate that is not accepted any more: 403
//	handler      whose answer must make progress: 64 KiB in a minute
//
// A client is an IPv4 address, or the /64 network of an IPv6 address: whoever has
// one address of that has them all. Headers such as X-Forwarded-For, which anybody
// can send, are not looked at. Behind a proxy all requests come from one client;
// then the proxy should limit its clients, and Config.Rate be 0.
package webserver
