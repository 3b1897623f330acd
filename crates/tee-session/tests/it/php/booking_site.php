<?php
// The booking site of a golf club, for `php -S`. A login and each booking give the session another id, and the site
// sets and removes further cookies, as real sites do.

session_set_cookie_params(['path' => '/', 'secure' => true, 'httponly' => true, 'samesite' => 'Lax']);
session_start();
$_SESSION['csrf'] ??= bin2hex(random_bytes(16));
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);

function refuse(int $status, string $why): never
{
    http_response_code($status);
    exit($why);
}

function move_to(string $target): never
{
    header("Location: $target", true, 303);
    exit();
}

function check_form(): void
{
    if ($_SERVER['REQUEST_METHOD'] !== 'POST' || !hash_equals($_SESSION['csrf'], $_POST['csrf'] ?? '')) {
        refuse(403, 'The form is out of date.');
    }
}

function form(string $target, string $fields): string
{
    return "<form method=post action=$target><input type=hidden name=csrf value={$_SESSION['csrf']}>$fields</form>";
}

if ($path === '/login') {
    if ($_SERVER['REQUEST_METHOD'] === 'GET') {
        setcookie('seen', 'login', ['path' => '/login']);
        exit('<title>Login</title>' . form('/login', '<input name=member><input name=pin>'));
    }
    check_form();
    if (($_POST['pin'] ?? '') !== '4711') {
        refuse(403, 'Wrong PIN.');
    }
    session_regenerate_id(true);
    $_SESSION += ['member' => $_POST['member'], 'bookings' => []];
    setcookie('remember[member]', $_POST['member'], ['expires' => time() + 86_400, 'path' => '/', 'secure' => true]);
    setcookie('seen', '', ['expires' => 1, 'path' => '/login']);
    move_to('/times');
}

if (!isset($_SESSION['member'])) {
    move_to('/login');
}
if ($path === '/times') {
    exit('<title>Welcome</title>' . form('/book', '<button name=time value=08:10>08:10</button>'));
}
if ($path === '/book') {
    check_form();
    // Removes the old id, so that only a client with the new id is still logged in.
    session_regenerate_id(true);
    $_SESSION['bookings'][] = $_POST['time'];
    move_to('/bookings?edit=' . count($_SESSION['bookings']));
}
if ($path === '/bookings') {
    exit('Booked: ' . implode(', ', $_SESSION['bookings']));
}
refuse(404, 'No such page.');
