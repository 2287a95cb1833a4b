/* SPDX-License-Identifier: MIT */
/* The whole idea. "hello_rep --connect" is one way to hear it. */
#include <sys/socket.h>
#include <netinet/sp.h>
#include <err.h>
#include <unistd.h>

int main(void)
{
        struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(5577), .sin_addr.s_addr = INADDR_ANY };
        int s = socket(PF_SP, SOCK_REQ, IPPROTO_TCP);

        if (s < 0 || bind(s, (struct sockaddr *)&addr, sizeof(addr)))
                err(1, "cannot be reached");
        send(s, "Hello", 6, 0);         /* waits for the first peer; any role may bind, any may connect */
        close(s);                       /* what send() accepted still reaches the peer */
        return 0;
}
