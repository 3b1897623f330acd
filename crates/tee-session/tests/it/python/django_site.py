"""A site of Django over TLS: a login with CSRF protection, bookings and a logout.

Usage: django_site.py CERTIFICATE_FILE PRIVATE_KEY_FILE
Prints the port on which it listens. Each booking with a `GET` and each partner is a line of the file
that the variable BOOKINGS names.
"""

import os
import sys

import django
from django.conf import settings
from django.http import HttpResponse, HttpResponseForbidden, HttpResponseRedirect
from django.middleware.csrf import get_token, rotate_token
from django.urls import path
from werkzeug.serving import make_server

settings.configure(
    SECRET_KEY="for tests only",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
    ],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_COOKIE_SECURE=True,
    CSRF_COOKIE_SECURE=True,
)


def log_in(request):
    if request.method == "GET":
        return HttpResponse(f"<input name=csrfmiddlewaretoken value={get_token(request)}>")
    if request.POST.get("pin") != "4711":
        return HttpResponseForbidden("Wrong PIN.")
    # What `django.contrib.auth.login` does.
    request.session.cycle_key()
    request.session["member"] = request.POST["member"]
    rotate_token(request)
    return HttpResponseRedirect("/members/")


def members(request):
    if "member" not in request.session:
        return HttpResponseForbidden("Log in first.")
    if request.method == "POST":
        request.session["bookings"] = request.session.get("bookings", []) + [request.POST["time"]]
    return HttpResponse(f"Booked: {', '.join(request.session.get('bookings', []))}")


def log_out(request):
    request.session.flush()
    return HttpResponse("Logged out.")


def log_in_to_book(request):
    """Like the login of `upstream/booking.php`."""
    if request.method == "GET":
        field = f'<input name="csrfmiddlewaretoken" value="{get_token(request)}">'
        return HttpResponse(f'<form method="post">{field}</form>')
    if request.POST.get("pin") != "1234":
        return HttpResponseForbidden("Wrong PIN.")
    request.session.cycle_key()
    request.session["member"] = request.POST["member"]
    rotate_token(request)
    return HttpResponseRedirect("/")


def note(line):
    """Adds a line to the file of bookings, and returns the number of lines."""
    with open(os.environ["BOOKINGS"], "a+") as bookings:
        bookings.write(f"{line}\n")
        bookings.seek(0)
        return len(bookings.readlines())


def book(request, page):
    """Books with a `GET`, as many real sites do."""
    if "member" not in request.session:
        return HttpResponseRedirect("/login")
    if page == "book":
        return HttpResponseRedirect(f"/teetimes?edit={note('book ' + request.GET['slot'])}")
    if page == "partner":
        note("partner " + request.GET["edit"])
        return HttpResponse("added")
    if page == "teetimes":
        edit = request.GET.get("edit")
        return HttpResponse(f"Booking {edit}" if edit else "Slots: 7, 8, 9")
    return HttpResponse(f"Welcome {request.session['member']}")


urlpatterns = [
    path("login/", log_in),
    path("members/", members),
    path("logout/", log_out),
    path("login", log_in_to_book),
    *[path(page, book, {"page": page}) for page in ("", "teetimes", "book", "partner")],
]


def main():
    django.setup()
    from django.core.wsgi import get_wsgi_application

    server = make_server("127.0.0.1", 0, get_wsgi_application(), threaded=True, ssl_context=tuple(sys.argv[1:]))
    print(server.server_port, flush=True)
    server.serve_forever()


main()
